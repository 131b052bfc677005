"""One worker process: started, watched by its pipe, and started again when it ends or falls silent."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import Protocol

import structlog

from serving.supervisor.forked import ForkedProcess, ForkServerAwayError

log = structlog.get_logger()

SILENT_S = 30.0
"""A worker that says nothing for so long is hung or stopped, and is replaced."""
_LIVED_S = 10.0
_BACKOFF_S = (0.1, 0.5, 2.0, 5.0)


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """What to start: role (`serving` or `nearline`), name, and the port for serving workers."""

    role: str
    name: str
    port: int


Died = Callable[[str, int], Awaitable[None]]


class Process(Protocol):
    """What both ways of starting one give."""

    @property
    def pid(self) -> int:
        """Its number."""

    @property
    def returncode(self) -> int | None:
        """None while it runs."""

    async def wait(self) -> int:
        """Return the code once it has ended."""

    def send_signal(self, signal: signal.Signals) -> None:
        """ProcessLookupError when it has ended."""


class WorkerProcess:
    """Keeps one worker running until told to stop.

    `died(name, pid)` is awaited after it has ended by itself and before it is started again. `trials_fd`: of the node's
    trial helper, which the worker inherits. `forks`: of the fork server; without it, or while that is away, the worker
    is started as any program is.
    """

    def __init__(
        self,
        spec: WorkerSpec,
        settings_json: str,
        env: dict[str, str],
        died: Died,
        *,
        trials_fd: int | None = None,
        forks: socket.socket | None = None,
        silent_s: float = SILENT_S,
    ) -> None:
        self.spec = spec
        self._trials_fd = trials_fd
        self._forks = forks
        self._silent_s = silent_s
        self._died = died
        self._said_ready = False
        self.restarts = 0
        self._settings_json = settings_json
        self._env = env
        self._process: Process | None = None
        self._stopping = asyncio.Event()
        self._last_beat = 0.0

    @property
    def pid(self) -> int | None:
        """Of the process that runs now."""
        return self._process.pid if self._process and self._process.returncode is None else None

    @property
    def ready(self) -> bool:
        """Whether the process that runs now said so; false as soon as it has ended."""
        return self._said_ready and self.pid is not None

    async def run(self) -> None:
        """Start the worker, again and again; return after `stop` once it has ended."""
        failures = 0
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                code, pid = await self._once()
            except OSError as error:  # no memory or no process to be had, just now
                log.error("worker.unstarted", name=self.spec.name, error=str(error))
                await self._pause(_BACKOFF_S[-1])
                continue
            if self._stopping.is_set():
                return
            self.restarts += 1
            failures = 0 if time.monotonic() - began > _LIVED_S else failures + 1
            wait = _BACKOFF_S[min(failures, len(_BACKOFF_S) - 1)]
            log.error("worker.died", name=self.spec.name, ended=_ended(code), restart_in_s=wait)
            await self._died(self.spec.name, pid)
            await self._pause(wait)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    def stop(self) -> None:
        """Ask the worker to end gracefully, and do not start it again."""
        self._stopping.set()
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the worker at once."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def _once(self) -> tuple[int, int]:
        read_fd, write_fd = os.pipe()
        try:
            process = self._process = await self._start(write_fd)
        except OSError:
            os.close(read_fd)
            raise
        finally:
            os.close(write_fd)
        if self._stopping.is_set():
            self.stop()
        watch = asyncio.create_task(self._watch(read_fd))
        try:
            return await process.wait(), process.pid
        finally:
            self._said_ready = False
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)

    async def _start(self, beat: int) -> Process:
        arguments = (self.spec.role, self.spec.name, str(self.spec.port))
        trials = () if self._trials_fd is None else (self._trials_fd,)
        with _file_of(self._settings_json) as stdin:
            if self._forks is not None:
                try:
                    return await ForkedProcess.start(self._forks, arguments, (stdin, beat, *trials))
                except ForkServerAwayError:
                    log.warning("worker.not_forked", name=self.spec.name, action="starting it as a program")
            script = f"import os; os.dup2({beat}, 3); from serving.supervisor.child import main; main()"
            return await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                script,
                *arguments,
                *map(str, trials),
                stdin=stdin,
                pass_fds=(beat, *trials),
                env=self._env,
                start_new_session=True,  # a Ctrl-C at the terminal is ours to pass on, in order
            )

    async def _watch(self, fd: int) -> None:
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(fd, "rb")
        )
        try:
            while True:
                try:
                    line = await asyncio.wait_for(reader.readline(), self._silent_s)
                except TimeoutError:
                    if self._stopping.is_set():  # it drains, and has said its last word; the supervisor counts the time
                        return
                    log.warning("worker.silent", name=self.spec.name, seconds=self._silent_s, action="killing it")
                    self.kill()
                    return
                if not line:
                    return
                self._said_ready = bool(json.loads(line)["ready"]) and not self._stopping.is_set()
        finally:
            transport.close()


@contextmanager
def _file_of(text: str) -> Iterator[int]:
    """Descriptor of a file without a name, to be read from its start; in memory where the system can, for secrets."""
    with os.fdopen(os.memfd_create("settings"), "w+b") if sys.platform == "linux" else TemporaryFile() as file:
        file.write(text.encode())
        file.seek(0)
        yield file.fileno()


def _ended(code: int) -> str:
    return f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
