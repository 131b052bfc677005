"""What a worker does beside serving keeps off its event loop."""

import asyncio
import threading
from unittest.mock import AsyncMock, MagicMock

import pytest

from serving.supervisor import child


@pytest.mark.parametrize("role", ["serving", "nearline"])
def test_the_disk_is_not_looked_at_on_the_event_loop(role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "spare_collector", lambda: None)
    threads: list[threading.Thread] = []

    class Looked(Exception):  # noqa: N818 - ends the loop that looks
        pass

    def look() -> None:
        threads.append(threading.current_thread())
        raise Looked

    async def main() -> None:
        worker = MagicMock()
        worker.models.crashes.look = look
        worker.models.deployer.wait_settled.return_value = True
        stop = asyncio.Event()
        if role == "serving":
            worker.server.start = AsyncMock()
            await child._serve(worker, stop, 0, lambda _: None)
        else:
            await child._compute(worker, stop, lambda _: None)

    with pytest.raises(Looked):
        asyncio.run(main())
    assert threads != [threading.main_thread()]
