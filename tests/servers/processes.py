"""Servers that tests start: with a log, ready when `start` returns, ended by their own process id, never left over."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from tests.servers.ports import free_port

__all__ = ["Server", "ServerError", "free_port"]

_KEEPER = Path(__file__).with_name("keeper.py")
_LOOK_S = 0.02
_TAIL = 2000


class ServerError(Exception):
    """A server did not start; the message holds the path and the end of its log."""


class Server:
    """One server process, that may be started and ended several times.

    `ready` says whether it answers. It ends with `owner`, by default this process, even if that one is killed.
    """

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        ready: Callable[[], bool],
        *,
        owner: int | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._command = list(command)
        self.log = log
        self._ready = ready
        self._owner = owner or os.getpid()
        self._environment = environment
        self._child: subprocess.Popen[bytes] | None = None
        self._keeper: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        if self._child is None:
            raise ServerError(f"{self._command[0]}: not running")
        return self._child.pid

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._child is not None and self._child.poll() is None

    def start(self, timeout_s: float = 180.0) -> None:
        """Start and wait until it answers."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            # A session of its own: Ctrl-C in the terminal ends the tests first, and they end the server.
            self._child = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=dict(self._environment) if self._environment is not None else None,
            )
        try:
            self._keep(self._child.pid)
            self._wait_until_ready(self._child, timeout_s)
        except BaseException:
            self.kill()
            raise

    def stop(self, timeout_s: float = 30.0) -> None:
        """Ask it to end; kill it when it does not."""
        if self._child is not None and self._child.poll() is None:
            self._child.terminate()
            try:
                self._child.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self._child.kill()
        self._reap()

    def kill(self) -> None:
        """End it with SIGKILL, as a crash would."""
        if self._child is not None and self._child.poll() is None:
            self._child.kill()
        self._reap()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _wait_until_ready(self, child: subprocess.Popen[bytes], timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not self._ready():
            ended = child.poll()
            if ended is not None or time.monotonic() > deadline:
                what = f"ended with code {ended}" if ended is not None else f"did not answer within {timeout_s:g} s"
                raise ServerError(f"{self._command[0]} {what}; its log is {self.log}\n{self._tail()}")
            time.sleep(_LOOK_S)

    def _keep(self, child: int) -> None:
        whom = [self._owner, psutil.Process(self._owner).create_time(), child, psutil.Process(child).create_time()]
        self._keeper = subprocess.Popen(
            [sys.executable, str(_KEEPER), *map(str, whom)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _reap(self) -> None:
        for process in (self._child, self._keeper):
            if process is not None:
                process.wait()  # the keeper ends when its server has ended
        self._child = self._keeper = None

    def _tail(self) -> str:
        return self.log.read_text(errors="replace")[-_TAIL:]
