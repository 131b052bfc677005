"""Snapshots of a node's own store, beside its work: taken now and then, restored before the first worker starts.

Each in a process of its own, so that neither its memory nor its end touches the supervisor.
"""

import asyncio
import random
import sys

import structlog

from serving.settings import Settings
from serving.snapshots.need import is_called_for
from serving.store.connect import is_shared

log = structlog.get_logger()

_PATIENCE_S = 15.0
"""A bus or artifact store that is away for longer does not keep a node from serving; then it starts empty."""
_JITTER = 0.1


class Snapshots:
    """Both of them, for one node."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def restore(self, stop: asyncio.Event) -> None:
        """Restore if need be; return when that has ended, well or not, or when `stop` is set."""
        if not is_called_for(self._settings):
            return
        work = asyncio.create_task(self._run("restore", _PATIENCE_S))
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait([work, stopped], return_when=asyncio.FIRST_COMPLETED)
        for task in (work, stopped):
            task.cancel()
        code = (await asyncio.gather(work, stopped, return_exceptions=True))[0]
        if code != 0 and not stop.is_set():
            log.error(
                "snapshot.unrestored", ended=str(code),
                action="starting without: stop the node, remove its store and start it to have one restored",
            )  # fmt: skip

    async def run(self) -> None:
        """Take one after another, spread so that nodes do not do it at once; until cancelled."""
        every_s = self._settings.snapshot_every_s
        if not every_s or is_shared(self._settings.store):
            return
        wait_s = random.uniform(0, every_s)  # noqa: S311 - no secret
        while True:
            await asyncio.sleep(wait_s)
            try:
                code = await self._run("take", every_s / 2)
                if code != 0:
                    log.error("snapshot.missed", ended=code, action=f"trying again within {every_s:g} s")
            except OSError as error:  # no memory or no process to be had, just now
                log.error("snapshot.missed", error=str(error), action=f"trying again within {every_s:g} s")
            wait_s = every_s * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - no secret

    async def _run(self, what: str, seconds: float) -> int:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "serving.snapshots.child",
            what,
            str(seconds),
            stdin=asyncio.subprocess.PIPE,
            start_new_session=True,  # a Ctrl-C at the terminal is for the supervisor
        )
        try:
            assert process.stdin is not None  # noqa: S101 - for the type checker: it was asked for
            process.stdin.write(f"{self._settings.revealed()}\n".encode())
            return await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            if process.stdin is not None:
                process.stdin.close()
