"""Memory that the workers of a node were promised and have not taken yet: all look at what one machine has free.

A file for each process, locked for as long as it lives, so that what a dead one was promised counts no longer. Not for
each worker: one that hangs has its file until it is killed, and whoever takes its place would wait for it.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

log = structlog.get_logger()

_SUFFIX = ".bytes"


class Promises:
    """Of one worker, and those of the others. Where the disk has no room for a file, everybody decides alone."""

    def __init__(self, folder: Path, worker: str) -> None:
        self._folder = folder
        self._path = folder / f"{worker}.{os.getpid()}{_SUFFIX}"
        self._mine: int | None = None

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Have no other worker decide meanwhile."""
        try:
            lock = self._open(self._folder / "lock")
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:
            log.error("promises.unlocked", error=str(error))
            yield
            return
        try:
            yield
        finally:
            os.close(lock)

    def say(self, size: int) -> None:
        """Tell the others what is promised to this worker. The first time, alone."""
        try:
            if self._mine is None:
                self._mine = self._open(self._path)
                fcntl.flock(self._mine, fcntl.LOCK_EX)
            os.pwrite(self._mine, f"{size:20}".encode(), 0)
        except OSError as error:
            log.error("promises.unwritable", error=str(error))

    def of_others(self) -> int:
        """Bytes that are promised to others that live. To be asked alone: what others left is cleared away."""
        return sum(_promised(path) for path in self._folder.glob(f"*{_SUFFIX}") if path != self._path)

    def _open(self, path: Path) -> int:
        self._folder.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o644)


def _promised(path: Path) -> int:
    """Read what is promised to a process that lives, and take away what a dead one left. Alone."""
    try:
        fd = os.open(path, os.O_RDWR)
    except OSError:
        return 0
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:  # its process lives
        return int(os.pread(fd, 20, 0) or 0)
    else:
        path.unlink(missing_ok=True)
    finally:
        os.close(fd)
    return 0
