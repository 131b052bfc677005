"""moto's server: S3 on a free port, in a process of its own, with nothing in it at each start."""

import os
import socket
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.servers.ports import free_port
from tests.servers.processes import Server

BUCKET = "models"
_ANSWER_S = 5.0


class S3Server:
    """May be ended and started again on the same port; buckets and objects go with it, so they are made again."""

    def __init__(self, folder: Path, *, checks_logins: bool = False) -> None:
        self.port = free_port()
        environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
        if checks_logins:
            environment["INITIAL_NO_AUTH_ACTION_COUNT"] = "1"  # the bucket below
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        self._server = Server(command, folder / "moto.log", self._answers, environment=environment)

    @property
    def url(self) -> str:
        """Of its endpoint."""
        return f"http://127.0.0.1:{self.port}"

    def variables(self) -> dict[str, str]:
        """What clients of it have in their environment."""
        return {
            "AWS_ENDPOINT_URL_S3": self.url,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def start(self) -> None:
        """Start, and make the bucket."""
        self._server.start()
        request = urllib.request.Request(f"{self.url}/{BUCKET}", method="PUT")  # noqa: S310 - our own server
        urllib.request.urlopen(request, timeout=30).close()  # noqa: S310 - as above

    def stop(self) -> None:
        """End it."""
        self._server.stop()

    def put(self, name: str, data: bytes) -> None:
        """Make an object what it should not be."""
        self._system().pipe_file(f"{BUCKET}/{name}", data)

    def get(self, name: str) -> bytes:
        """What is in an object."""
        data: bytes = self._system().cat_file(f"{BUCKET}/{name}")
        return data

    def contents(self) -> dict[str, bytes]:
        """All objects: what has to be put again after `stop` and `start`, to stand for a store that was only away."""
        system = self._system()
        return {name.removeprefix(f"{BUCKET}/"): system.cat_file(name) for name in system.find(BUCKET)}

    def _system(self) -> Any:
        import s3fs  # noqa: PLC0415 - only tests of S3 need it

        return s3fs.S3FileSystem(key="key", secret="secret", endpoint_url=self.url, skip_instance_cache=True)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), _ANSWER_S) as connection:
                connection.settimeout(_ANSWER_S)
                connection.sendall(b"GET /moto-api/ HTTP/1.0\r\n\r\n")
                return connection.recv(16).startswith(b"HTTP/1")
        except OSError:
            return False


def set_variables(server: S3Server, patch: pytest.MonkeyPatch) -> None:
    """Let this process be a client of it; fsspec keeps clients, so those of before are forgotten."""
    import s3fs  # noqa: PLC0415 - only tests of S3 need it

    for name, value in server.variables().items():
        patch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
