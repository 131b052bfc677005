"""Folders of bundles on this disk: compared with what was announced, made durable, taken away."""

import hashlib
import os
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path

from protos.digest import FileEntry


def discard(final: Path) -> None:
    """Delete a bundle. It leaves its name in one step: who is killed in between must leave no half bundle there."""
    part = final.with_name(f"{final.name}.part-{uuid.uuid4().hex}")
    final.rename(part)
    shutil.rmtree(part, ignore_errors=True)


def sound(folder: Path, files: Sequence[FileEntry]) -> bool:
    """Tell whether every file is there with the size and SHA-256 that were announced."""
    try:
        return all(
            (folder / file.path).stat().st_size == file.size and sha256(folder / file.path) == file.sha256
            for file in files
        )
    except OSError:  # not there, or not to be read: either way there is another copy to be had
        return False


def sha256(path: Path) -> str:
    """Hash a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Make the bytes of a file, or the names in a folder, durable."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
