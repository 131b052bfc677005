"""The node's trial helper: a process that all workers send bundles to, before they load them (trial_helper.py)."""

import asyncio
import contextlib
import fcntl
import socket
import sys

import structlog

from serving.bundles.trial_order import bare_environment

log = structlog.get_logger()

_AGAIN_S = (0.1, 1.0, 5.0)
_FIRST_FD = 100
"""Workers find the socket under the number that it has here: beyond those that they give to others."""


class TrialHelper:
    """Keeps one helper running. `fd`: what workers write orders to, which outlives every helper; None without one.

    A helper of its own process image, with nothing of a node in memory: a trial's process is a fork of it, and has
    whatever that has.
    """

    def __init__(self) -> None:
        self.fd: int | None = None
        self._ours: socket.socket | None = None
        self._theirs: socket.socket | None = None
        if sys.platform == "linux":
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._theirs = theirs
            self.fd = fcntl.fcntl(ours, fcntl.F_DUPFD_CLOEXEC, _FIRST_FD)
            ours.close()
            self._ours = socket.socket(fileno=self.fd)

    async def run(self) -> None:
        """Start it, again and again, until cancelled."""
        if self._theirs is None:
            return
        failures = 0
        while True:
            try:
                helper = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-m",
                    "serving.bundles.trial_helper",
                    str(self._theirs.fileno()),
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=(self._theirs.fileno(),),
                    env=bare_environment(),
                    start_new_session=True,
                )
            except OSError as error:
                log.error("trials.unstarted", error=str(error))
                await asyncio.sleep(_AGAIN_S[-1])
                continue
            began = asyncio.get_running_loop().time()
            try:
                code = await helper.wait()
            finally:
                with contextlib.suppress(ProcessLookupError):
                    helper.kill()
            failures = 0 if asyncio.get_running_loop().time() - began > _AGAIN_S[-1] else failures + 1
            log.error("trials.died", code=code)
            await asyncio.sleep(_AGAIN_S[min(failures, len(_AGAIN_S) - 1)])

    def close(self) -> None:
        """No orders any more: a helper that still runs ends."""
        for end in (self._ours, self._theirs):
            if end is not None:
                end.close()
