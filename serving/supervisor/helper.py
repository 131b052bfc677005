"""A process beside the workers that takes orders from a socket, and is started again whenever it ends."""

import asyncio
import contextlib
import fcntl
import socket
import sys
from collections.abc import Mapping

import structlog

log = structlog.get_logger()

_AGAIN_S = (0.1, 1.0, 5.0)
_FIRST_FD = 100
"""Workers find the socket under the number that it has here: beyond those that they give to others."""


class Helper:
    """Keeps one running. `fd`: what orders are written to, which outlives every such process; None where there is none.

    It is `python -m MODULE FD`, and ends when nobody can write to its socket any more.
    """

    def __init__(self, module: str, env: Mapping[str, str]) -> None:
        self.fd: int | None = None
        self._module = module
        self._env = env
        self._ours: socket.socket | None = None
        self._theirs: socket.socket | None = None
        if sys.platform == "linux":
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._theirs = theirs
            self.fd = fcntl.fcntl(ours, fcntl.F_DUPFD_CLOEXEC, _FIRST_FD)
            ours.close()
            self._ours = socket.socket(fileno=self.fd)

    @property
    def orders(self) -> socket.socket | None:
        """The same as a socket."""
        return self._ours

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
                    self._module,
                    str(self._theirs.fileno()),
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=(self._theirs.fileno(),),
                    env=self._env,
                    start_new_session=True,
                )
            except OSError as error:
                log.error("helper.unstarted", module=self._module, error=str(error))
                await asyncio.sleep(_AGAIN_S[-1])
                continue
            began = asyncio.get_running_loop().time()
            try:
                code = await helper.wait()
            finally:
                with contextlib.suppress(ProcessLookupError):
                    helper.kill()
            failures = 0 if asyncio.get_running_loop().time() - began > _AGAIN_S[-1] else failures + 1
            log.error("helper.died", module=self._module, code=code)
            await asyncio.sleep(_AGAIN_S[min(failures, len(_AGAIN_S) - 1)])

    def close(self) -> None:
        """No orders any more: one that still runs ends."""
        for end in (self._ours, self._theirs):
            if end is not None:
                end.close()
