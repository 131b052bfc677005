"""Who uses a bundle on this disk: a shared lock on a file beside it, which the system takes back when a process dies.

The file's content is the model's name, its time the last use: what the order of removal is made of.
"""

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Self

_SUFFIX = ".use"


class Hold:
    """A process's use of a bundle: nobody removes it until `release`, which may be called twice, from any thread."""

    def __init__(self, path: Path, model: str) -> None:
        """Wait for whoever is just removing it. OSError."""
        self._path = path
        self._fd: int | None = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_SH)
            os.pwrite(self._fd, model.encode(), 0)
            os.ftruncate(self._fd, len(model.encode()))
            os.utime(self._fd)
        except OSError:
            self.release()
            raise

    def release(self) -> None:
        """End the use."""
        fd, self._fd = self._fd, None
        if fd is not None:
            with suppress(OSError):
                os.utime(fd)
            os.close(fd)


def hold_path(folder: Path, digest: str) -> Path:
    """Where a bundle's uses are kept."""
    return folder / f"{digest}{_SUFFIX}"


class Claim:
    """The opposite of a hold: `taken` while it is certain that no process uses the bundle, and none can begin to."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.taken = True
        except BlockingIOError:
            self.taken = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)
