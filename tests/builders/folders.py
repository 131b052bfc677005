"""Folders for tests that write a lot, and care for what is written and not for when it reaches a disk."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MEMORY = Path("/dev/shm")  # noqa: S108 - what is made in it has a name of its own


@contextmanager
def quick_folder() -> Iterator[Path]:
    """An empty folder in memory, where there is such a thing, that goes in the end."""
    with tempfile.TemporaryDirectory(prefix="nearline-test-", dir=_MEMORY if _MEMORY.is_dir() else None) as name:
        yield Path(name)
