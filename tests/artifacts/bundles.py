"""A small bundle, and what child processes do with it: python -m tests.artifacts.bundles WHAT ROOT CACHE [COUNTS]."""

import hashlib
import os
import shutil
import signal
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path

import serving.artifacts.cache
from protos.digest import FileEntry, bundle_digest
from serving.artifacts import local
from serving.artifacts.cache import BundleCache
from serving.artifacts.store import FsspecArtifacts

CONTENTS = {"model.onnx": b"graph" * 1000, "weights/first.bin": bytes(range(256)) * 64, "weights/100%#?.txt": b""}
FILES = [FileEntry(path, hashlib.sha256(data).hexdigest(), len(data)) for path, data in CONTENTS.items()]
DIGEST = bundle_digest(FILES)
MAX_BYTES = 1 << 20


def write_files(folder: Path) -> dict[str, Path]:
    """The bundle's files on this disk, by name."""
    for path, data in CONTENTS.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return {path: folder / path for path in CONTENTS}


def contents(folder: Path) -> dict[str, bytes]:
    """What a folder holds."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def no_matter() -> None:
    """Called when verifying begins."""


class Counted(FsspecArtifacts):
    """Leaves a file for every fetch."""

    def __init__(self, root: str, counts: Path) -> None:
        super().__init__(root)
        self._counts = counts

    def fetch(self, uri: str, path: str, target: Path, size: int) -> None:
        (self._counts / uuid.uuid4().hex).touch()
        super().fetch(uri, path, target, size)


class Deadly(FsspecArtifacts):
    """Ends the process when the second file is asked for, and the first is there."""

    def fetch(self, uri: str, path: str, target: Path, size: int) -> None:
        if path == FILES[1].path:
            os.kill(os.getpid(), signal.SIGKILL)
        super().fetch(uri, path, target, size)


def _ensure_unsynced(root: str, cache: Path) -> None:
    """End the process when the second file is to be synced; others may be copied and hashed by then."""
    synced: list[Path] = []
    really = local.sync

    def deadly(path: Path) -> None:
        if synced:
            os.kill(os.getpid(), signal.SIGKILL)
        synced.append(path)
        really(path)

    serving.artifacts.cache.sync = deadly  # type: ignore[attr-defined]  # the only way to die right here
    _ensure(FsspecArtifacts(root), root, cache)


def _ensure(artifacts: FsspecArtifacts, root: str, cache: Path) -> None:
    uri = f"{root}/sha256/{DIGEST[:2]}/{DIGEST}"
    folder = BundleCache(cache, artifacts, MAX_BYTES).ensure(DIGEST, uri, FILES, verifying=no_matter)
    sys.stdout.write(f"{folder}\n")


def _put_half(root: str, source: Path) -> None:
    files: Mapping[str, Path] = write_files(source)
    copied: list[str] = []
    copyfile = shutil.copyfile

    def deadly(source: Path, target: Path) -> Path:
        if copied:
            os.kill(os.getpid(), signal.SIGKILL)
        copied.append(source.name)
        return copyfile(source, target)

    shutil.copyfile = deadly  # type: ignore[assignment]  # the only way to die right here
    FsspecArtifacts(root).put(DIGEST, files)


if __name__ == "__main__":
    what, root, folder, *more = sys.argv[1:]
    if what == "put-half":
        _put_half(root, Path(folder))
    elif what == "ensure-unsynced":
        _ensure_unsynced(root, Path(folder))
    elif what == "ensure-half":
        _ensure(Deadly(root), root, Path(folder))
    else:
        _ensure(Counted(root, Path(more[0])), root, Path(folder))
