"""One worker process: watched by its pipe, and replaced when it ends or falls silent."""

import asyncio
import errno
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from serving.settings import Settings
from serving.supervisor.process import WorkerProcess
from serving.supervisor.starting import Starter, WorkerSpec
from tests.supervisor.watching import running

SILENT_S = 30.0
"""Longer than a worker takes to import what it needs; it speaks once a second from then on."""
PATIENT_S = 600.0
"""Where silence is not what is looked at."""


async def until(look: Callable[[], object]) -> None:
    """Return as soon as it holds."""
    async with asyncio.timeout(240):
        while not look():  # noqa: ASYNC110 - what other processes do sets no event here
            await asyncio.sleep(0.01)


class Watched:
    """A worker process in a loop of the test's, with everything that ended."""

    def __init__(self, settings: Settings, role: str = "nearline", silent_s: float = PATIENT_S) -> None:
        self.died: list[tuple[str, int]] = []
        spec = WorkerSpec(role, f"{role}-0", 0)
        starter = Starter(settings.model_dump_json(), dict(os.environ))
        self.process = WorkerProcess(spec, starter, self._died, silent_s=silent_s)

    async def _died(self, name: str, pid: int) -> None:
        self.died.append((name, pid))

    async def ready(self, *, but: int | None = None) -> int:
        """Wait until it is ready, as another process than `but`; return its pid."""
        await until(lambda: self.process.ready and self.process.pid != but)
        assert self.process.pid is not None
        return self.process.pid

    async def kill(self, pid: int) -> None:
        """End it at once, and wait until that was noticed."""
        os.kill(pid, signal.SIGKILL)
        await until(lambda: (self.process.spec.name, pid) in self.died)

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.process.run())
        try:
            yield
        finally:
            self.process.stop()
            try:
                async with asyncio.timeout(240):
                    await asyncio.shield(task)
            except TimeoutError:
                self.process.kill()
                await task
                raise


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, log_format="json")


def test_a_silent_worker_is_replaced(settings: Settings) -> None:
    async def main() -> None:
        watched = Watched(settings, silent_s=SILENT_S)
        async with watched.run():
            first = await watched.ready()
            os.kill(first, signal.SIGSTOP)
            second = await watched.ready(but=first)
            assert not running(first)
            assert ("nearline-0", first) in watched.died
        assert not running(second)

    asyncio.run(main())


def test_a_worker_that_speaks_is_left_alone_and_ends_gracefully(
    settings: Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    async def main() -> None:
        watched = Watched(settings)
        async with watched.run():
            pid = await watched.ready()
        assert (watched.died, watched.process.restarts, watched.process.pid) == ([], 0, None)
        assert not running(pid)

    asyncio.run(main())
    events = [json.loads(line)["event"] for line in capfd.readouterr().err.splitlines() if line.startswith("{")]
    assert events[-1] == "worker.stopped"


def test_a_worker_told_to_stop_before_it_listens_is_not_started_again(settings: Settings) -> None:
    async def main() -> None:
        watched = Watched(settings)
        async with watched.run():
            await until(lambda: watched.process.pid is not None)
        assert watched.process.pid is None

    asyncio.run(main())


def test_stopping_does_not_wait_for_a_pause_between_starts(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.supervisor.process._BACKOFF_S", (3600.0,))

    async def main() -> None:
        watched = Watched(settings)
        async with watched.run():
            await until(lambda: watched.process.pid is not None)
            pid = watched.process.pid
            assert pid is not None
            await watched.kill(pid)
        assert watched.process.restarts == 1
        assert watched.process.pid is None

    asyncio.run(main())


def test_a_worker_that_refuses_its_settings_says_so_in_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async def main() -> None:
        settings = Settings(data_dir=tmp_path, store="redis://host:port/0", log_format="json")
        watched = Watched(settings, role="serving")
        async with watched.run():
            await until(lambda: watched.died)

    asyncio.run(main())
    err = capfd.readouterr().err
    assert "Traceback" not in err
    refused = [json.loads(line) for line in err.splitlines() if '"worker.refused"' in line]
    assert refused[0]["error"].startswith("store: expected ")


class Scripted(Starter):
    """Starts a script as the worker, which has its pipe as descriptor argv[1]."""

    script = ""
    argument = ""

    async def start(self, spec: WorkerSpec, beat: int) -> asyncio.subprocess.Process:  # noqa: ARG002 - as any starter
        return await asyncio.create_subprocess_exec(
            sys.executable, "-c", self.script, str(beat), self.argument, pass_fds=(beat,)
        )


_HANGS = """
import os, sys, threading
from pathlib import Path

marked = threading.Event()

def beat():
    while not marked.wait(0.1):
        os.write(int(sys.argv[1]), b'{"ready": true}\\n')

threading.Thread(target=beat, daemon=True).start()
from serving.models.crashes import Crashes
from serving.models.running import Ran
from serving.models.verdicts import Verdicts

folder = Path(sys.argv[2])
crashes = Crashes(folder / "run", "serving-0", Verdicts(folder / "verdicts"))
crashes.begin()
with crashes._running.mark(Ran("ab" * 32, 0)):
    marked.set()
    while True:
        pass
"""


def test_a_worker_that_hangs_in_a_run_leaves_behind_what_it_ran(tmp_path: Path) -> None:
    class Hanging(Scripted):
        script, argument = _HANGS, str(tmp_path)

    async def main() -> None:
        watched = Watched(Settings(data_dir=tmp_path))
        watched.process = WorkerProcess(watched.process.spec, Hanging("", {}), watched._died, silent_s=2.0)
        async with watched.run():
            await until((tmp_path / "verdicts" / f"{'ab' * 32}.deaths").exists)

    asyncio.run(main())


def test_a_worker_is_started_again_although_nothing_can_be_cleared_after_it(tmp_path: Path) -> None:
    async def died(_name: str, _pid: int) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    async def main() -> None:
        watched = Watched(Settings(data_dir=tmp_path))
        process = watched.process = WorkerProcess(watched.process.spec, Scripted("", {}), died)
        async with watched.run():
            await until(lambda: process.restarts > 1)

    asyncio.run(main())
