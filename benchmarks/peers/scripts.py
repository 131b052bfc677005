"""Starting a peer whose server is a script under `servers/`, in the peer's environment."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.peers import environments
from benchmarks.peers.peer import Caller, Peer, Start, Started
from benchmarks.peers.processes import free_port, server

SERVERS = Path(__file__).parent / "servers"
Command = Callable[[Path, int, Path, Mapping[str, Any]], Sequence[str | Path]]
"""Of model, port, the server's own folder and a configuration's options."""


@dataclass(frozen=True, slots=True)
class Script:
    """How to start it. environment: variables, beside those that options have as `environment`.

    There `{port}` is the server's port, `{after}` the next one.
    """

    key: str
    command: Command
    environment: Mapping[str, str] = field(default_factory=dict)

    @contextmanager
    def __call__(self, model: Path, folder: Path, options: Mapping[str, Any]) -> Iterator[Started]:
        """Run it."""
        port = free_port()
        arguments = [environments.python(self.key), *self.command(model, port, folder, options)]
        more = {"PYTHONPATH": str(SERVERS), "PATH": _path(self.key), "PEER_MODEL": str(model), **self.environment}
        for name, value in options.get("environment", {}).items():
            more[name] = value.format(port=port, after=port + 1)
        with server(arguments, port, folder, more) as started:
            yield started


def scripted(
    key: str, name: str, caller: Caller, script: Start, configurations: Mapping[str, Mapping[str, Any]], *packages: str
) -> Peer:
    """Return a peer with an environment of its own; packages: whose versions are shown, the peer's first."""
    return Peer(
        key=key,
        name=name,
        start=script,
        caller=caller,
        configurations=configurations,
        versions=partial(environments.versions, key, *packages, "onnxruntime"),
        install=partial(environments.install, key),
    )


def _path(key: str) -> str:
    """Programs that a server starts by name come from its environment, too."""
    return os.pathsep.join((str(environments.python(key).parent), os.environ.get("PATH", os.defpath)))
