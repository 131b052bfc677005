"""One at a time, over all processes of a node: a lock on a file, which the system takes back when its holder dies.

Who waits sleeps until the lock is free. The library for locks that we use elsewhere looks again and again, which takes
time from whoever is waited for where cores are few.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold the lock on a file that is there for nothing else, and stays. Not reentrant. OSError."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
