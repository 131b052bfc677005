"""The name of a bundle: one digest over the list of its files, which publisher and nodes compute alike."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class FileEntry:
    """One file of a bundle: path with forward slashes, SHA-256 in lower-case hex, size in bytes."""

    path: str
    sha256: str
    size: int


def bundle_digest(files: Iterable[FileEntry]) -> str:
    """Return the SHA-256, in hex, of `sha256  size  path` lines sorted by path. The order given does not matter."""
    lines = (f"{file.sha256}  {file.size}  {file.path}\n" for file in sorted(files))
    return hashlib.sha256("".join(lines).encode()).hexdigest()
