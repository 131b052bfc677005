"""Servers in sessions of their own, pinned to the server's core, of which nothing is left afterwards."""

import ctypes
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from benchmarks.nodes import SERVER_CORE, pin
from benchmarks.peers.peer import Started

_SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER of prctl(2)."""
_PATIENCE_S = 30.0


@contextmanager
def server(command: Sequence[str | Path], port: int, folder: Path, more: Mapping[str, str]) -> Iterator[Started]:
    """Run it until the end of the `with`; what it writes goes into `server.log` in the folder."""
    others = set(psutil.Process().children(recursive=True))
    with _adopting():
        with (folder / "server.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                env={**os.environ, **more},
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=lambda: pin(SERVER_CORE),  # noqa: PLW1509 - no threads of ours run yet
            )
        try:
            yield Started(port, lambda: _descendants(others))
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_PATIENCE_S)
            left = _descendants(others)
            for descendant in left:
                with suppress(psutil.NoSuchProcess):
                    descendant.kill()
            psutil.wait_procs(left, _PATIENCE_S)
            process.wait()


def free_port() -> int:
    """One that nothing listens on just now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def ended(started: Started) -> bool:
    """Whether a server has no process any more."""
    return not [process for process in started.processes() if process.status() != psutil.STATUS_ZOMBIE]


def cpu_s(processes: Sequence[psutil.Process]) -> float:
    """Seconds of CPU that they have used."""
    used = 0.0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            used += sum(process.cpu_times()[:2])
    return used


def _descendants(others: AbstractSet[psutil.Process]) -> list[psutil.Process]:
    """Processes of a server: they came after those others, and are in another session than our own helpers."""
    ours, found = os.getsid(0), []
    for process in psutil.Process().children(recursive=True):
        with suppress(ProcessLookupError):
            if process not in others and os.getsid(process.pid) != ours:
                found.append(process)
    return found


@contextmanager
def _adopting() -> Iterator[None]:
    """Be the parent of what a server's processes leave behind, so that it can be found and ended."""
    prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else lambda *_: None
    prctl(_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        prctl(_SUBREAPER, 0, 0, 0, 0)
