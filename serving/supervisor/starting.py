"""How a worker's process comes into being: as a fork of the fork server, or as a program where that is away."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import Protocol

import structlog

from serving.supervisor.forked import ForkedProcess, ForkServerAwayError

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """What to start: role (`serving` or `nearline`), name, and the port for serving workers."""

    role: str
    name: str
    port: int


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


@dataclass(frozen=True, slots=True)
class Starter:
    """What all workers of a node are started with.

    `trials_fd`: of the node's trial helper, which a worker inherits. `forks`: orders to the fork server.
    """

    settings_json: str
    env: Mapping[str, str]
    trials_fd: int | None = None
    forks: socket.socket | None = None

    async def start(self, spec: WorkerSpec, beat: int) -> Process:
        """Start one. `beat`: the writing end of its pipe to us. OSError when there is no process to be had."""
        arguments = (spec.role, spec.name, str(spec.port))
        trials = () if self.trials_fd is None else (self.trials_fd,)
        with _file_of(self.settings_json) as stdin:
            if self.forks is not None:
                try:
                    return await ForkedProcess.start(self.forks, arguments, (stdin, beat, *trials))
                except ForkServerAwayError:
                    log.warning("worker.not_forked", name=spec.name, action="starting it as a program")
            script = f"import os; os.dup2({beat}, 3); from serving.supervisor.child import main; main()"
            return await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                script,
                *arguments,
                *map(str, trials),
                stdin=stdin,
                pass_fds=(beat, *trials),
                env=self.env,
                start_new_session=True,  # a Ctrl-C at the terminal is ours to pass on, in order
            )


@contextmanager
def _file_of(text: str) -> Iterator[int]:
    """Descriptor of a file without a name, to be read from its start; in memory where the system can, for secrets."""
    with os.fdopen(os.memfd_create("settings"), "w+b") if sys.platform == "linux" else TemporaryFile() as file:
        file.write(text.encode())
        file.seek(0)
        yield file.fileno()
