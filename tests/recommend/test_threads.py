"""Runs in threads."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from serving.errors import ExpiredError
from serving.models.loaded import LoadedModel
from serving.models.pace import Pace
from serving.recommend.queue import Waiting
from serving.recommend.threads import Ended, Threads
from tests.builders.bundles import load
from tests.builders.graphs import doubler

SOON_S = 0.05


class Numbers:
    """Answers with the items; before it does, the clock has to come to `until`."""

    alone = False

    def __init__(self, until: float) -> None:
        self.pace = Pace()
        self.ran: list[int] = []
        self._until = until

    def run(self, _loaded: LoadedModel, requests: Sequence[Waiting], rows: int) -> Sequence[Any]:
        assert rows == len(requests)
        while time.monotonic() < self._until:
            pass
        self.ran += [one.item for one in requests]
        return [one.item for one in requests]


def test_what_expires_while_its_thread_runs_others_is_not_run(tmp_path: Path) -> None:
    loaded = load(tmp_path, graph=doubler())

    async def scene() -> list[Ended]:
        loop = asyncio.get_running_loop()
        deadline = time.monotonic() + SOON_S
        work = Numbers(deadline)

        def waiting(item: int, until: float | None) -> Waiting:
            return Waiting(item, 1, 0, until, loop.create_future())

        runs = [
            (work, [waiting(1, deadline + 60)], 1),
            (work, [waiting(2, deadline), waiting(3, None), waiting(4, deadline)], 3),
            (work, [waiting(5, deadline)], 1),
        ]
        told: asyncio.Queue[Ended] = asyncio.Queue()
        threads = Threads()
        threads.begin(loop, loaded, runs, told.put_nowait)
        ended = [await told.get() for _ in runs]
        threads.close()
        assert work.ran == [1, 3]
        return ended

    first, second, third = asyncio.run(scene())
    assert [(one.rows, one.expired, one.last) for one in (first, second, third)] == [
        (1, 0, False), (1, 2, False), (0, 1, True),
    ]  # fmt: skip
    assert first.results == [1]
    assert [type(result) for result in second.results] == [ExpiredError, int, ExpiredError]
    assert [type(result) for result in third.results] == [ExpiredError]
