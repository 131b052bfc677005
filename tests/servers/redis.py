"""Debian's redis-server on a free port, in a folder of its own."""

import os
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path

from tests.servers.processes import Server, ServerError, free_port

_ANSWER_S = 5.0


class RedisServer:
    """May be ended and started again on the same port; it writes nothing to disk, so it starts empty."""

    def __init__(self, folder: Path, *, options: Sequence[str] = ()) -> None:
        self.port = free_port()
        self.folder = folder
        command = [
            _executable(),
            *("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder)),
            *("--save", "", "--appendonly", "no"),
            *options,
        ]
        self._server = Server(command, folder / "redis.log", self.answers, environment={"PATH": os.environ["PATH"]})

    @property
    def url(self) -> str:
        """URL of database 0."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """Process id."""
        return self._server.pid

    def start(self) -> None:
        """Start, and wait until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._server.start()

    def stop(self) -> None:
        """End it by its process id."""
        self._server.stop()

    def kill(self) -> None:
        """End it as a crash would."""
        self._server.kill()

    def answers(self) -> bool:
        """Whether it says PONG."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), _ANSWER_S) as connection:
                connection.settimeout(_ANSWER_S)
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False


def _executable() -> str:
    path = shutil.which("redis-server") or shutil.which("valkey-server")
    if path is None:
        raise ServerError(
            "redis-server is not installed: `apt-get install redis-server` (Debian, Ubuntu), "
            "`dnf install valkey` (Fedora), `brew install redis` (macOS); or set NEARLINE_TEST_REDIS"
        )
    return path
