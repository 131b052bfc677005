"""A worker's process that the fork server made (fork_server.py), as asyncio has processes that it started itself."""

import asyncio
import json
import os
import signal
import socket
from collections.abc import Sequence
from typing import Self

_BEGIN_S = 60.0
"""Until the fork server answers: it may have to import everything first, on a machine that is busy."""


class ForkServerAwayError(Exception):
    """The fork server does not answer: it is being started, or started again."""


class ForkedProcess:
    """`returncode` as of subprocess; None while it runs. A fork server that has ended leaves the code unknown, 255."""

    def __init__(self, pid: int, pidfd: int | None, answers: asyncio.StreamReader, pipe: asyncio.BaseTransport) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._pidfd = pidfd
        self._answers = answers
        self._pipe = pipe

    @classmethod
    async def start(cls, server: socket.socket, arguments: Sequence[str], fds: Sequence[int]) -> Self:
        """Have a worker forked. `fds`: standard input, its pipe to us, and its socket to the trial helper, if any."""
        read_fd, write_fd = os.pipe()
        answers = asyncio.StreamReader()
        pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(answers), os.fdopen(read_fd, "rb")
        )
        try:
            stdin, beat, *trials = fds
            order = json.dumps(arguments).encode()
            socket.send_fds(server, [order], [stdin, beat, write_fd, *trials], socket.MSG_DONTWAIT)
        except OSError as error:
            pipe.close()
            raise ForkServerAwayError from error
        finally:
            os.close(write_fd)
        try:
            pid = int(await asyncio.wait_for(answers.readline(), _BEGIN_S))
        except (TimeoutError, ValueError) as error:
            pipe.close()
            raise ForkServerAwayError from error
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:  # it has ended already, and the code comes
            pidfd = None
        except OSError:  # it ends when it finds nobody at its pipe
            pipe.close()
            raise
        return cls(pid, pidfd, answers, pipe)

    async def wait(self) -> int:
        """Return its exit code, once it has ended."""
        told = await self._answers.readline()
        if not told and self._pidfd is not None:  # the fork server is gone, the worker perhaps not
            await _readable(self._pidfd)
        self.returncode = int(told or 255)
        self._pipe.close()
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """ProcessLookupError when it has ended."""
        if self._pidfd is None:
            raise ProcessLookupError
        signal.pidfd_send_signal(self._pidfd, number)


async def _readable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(fd, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(fd)
