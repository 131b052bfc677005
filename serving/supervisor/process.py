"""One worker process: started, watched by its pipe, and started again when it ends or falls silent."""

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import Awaitable, Callable

import structlog

from serving.supervisor.starting import Process, Starter, WorkerSpec

log = structlog.get_logger()

SILENT_S = 30.0
"""A worker that says nothing for so long is hung or stopped, and is replaced."""
_REPORT_S = 2.0
"""To write down what it hangs in, before it is killed."""
_LIVED_S = 10.0
_BACKOFF_S = (0.1, 0.5, 2.0, 5.0)


Died = Callable[[str, int], Awaitable[None]]


class WorkerProcess:
    """Keeps one worker running until told to stop.

    `died(name, pid)` is awaited after it has ended by itself and before it is started again.
    """

    def __init__(
        self,
        spec: WorkerSpec,
        starter: Starter,
        died: Died,
        *,
        silent_s: float = SILENT_S,
    ) -> None:
        self.spec = spec
        self._silent_s = silent_s
        self._died = died
        self._said_ready = False
        self.restarts = 0
        self._starter = starter
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
            try:
                await self._died(self.spec.name, pid)
            except Exception:  # such as a disk that has gone read-only: no reason to do without the worker
                log.exception("worker.uncleared", name=self.spec.name, pid=pid)
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
            process = self._process = await self._starter.start(self.spec, write_fd)
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
                    self._signal(signal.SIGABRT)  # faulthandler writes down what it ran: Crashes blames the model
                    await asyncio.sleep(_REPORT_S)  # cancelled as soon as it has ended
                    self.kill()
                    return
                if not line:
                    return
                self._said_ready = bool(json.loads(line)["ready"]) and not self._stopping.is_set()
        finally:
            transport.close()


def _ended(code: int) -> str:
    return f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
