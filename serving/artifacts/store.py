"""The artifact store over fsspec: `<root>/sha256/<2 hex>/<digest>/<file>`.

A folder on a file system appears under its final name by one rename, after every byte was synced. Object stores
have no rename: there a file appears whole or not at all, and readers ask for the files that an announcement lists,
which is written last.
"""

import os
import shutil
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import fsspec

from serving.errors import ArtifactUnavailableError, InvalidRequestError

_CHUNK = 4 << 20


class FsspecArtifacts:
    """Writes under `root`; reads under `root` and the `allowed` roots, and nowhere else."""

    def __init__(self, root: str, allowed: Sequence[str] = ()) -> None:
        self._root = root.rstrip("/")
        self._allowed = [self._root, *(url.rstrip("/") for url in allowed)]

    def put(self, digest: str, files: Mapping[str, Path]) -> str:
        """Store local files under their relative names; return the folder's URL. ArtifactUnavailableError."""
        uri = f"{self._root}/sha256/{digest[:2]}/{digest}"
        try:
            if self._root.startswith("file://"):
                _put_folder(_local(uri), files)
            else:
                self._put_objects(uri, files)
        except (OSError, ImportError, ValueError) as error:
            raise ArtifactUnavailableError(f"artifact store {self._root}: {error}") from error
        return uri

    def fetch(self, uri: str, path: str, target: Path, size: int) -> None:
        """Copy one file of a folder to `target`, synced; see port.py for the errors."""
        self._check_root(uri)
        source = f"{uri.rstrip('/')}/{path}"
        if source.startswith("file://"):
            self._check_real(source)
        copied = 0
        try:
            with fsspec.open(source, "rb") as reader, target.open("wb") as writer:
                while chunk := reader.read(min(_CHUNK, size + 1 - copied)):
                    copied += len(chunk)
                    if copied > size:
                        break
                    writer.write(chunk)
                writer.flush()
                os.fsync(writer.fileno())
        except FileNotFoundError as error:
            raise ArtifactUnavailableError(f"{path}: expected at {uri}, found nothing") from error
        except (OSError, ImportError, ValueError) as error:
            if isinstance(error, OSError) and error.filename == str(target):
                raise
            raise ArtifactUnavailableError(f"{path}: {error}") from error
        if copied != size:
            longer = "more" if copied > size else copied
            raise ArtifactUnavailableError(f"{path}: expected {size} bytes as announced, got {longer}")

    def _put_objects(self, uri: str, files: Mapping[str, Path]) -> None:
        system, base = fsspec.core.url_to_fs(uri)
        for name, path in files.items():
            if not system.exists(f"{base}/{name}") or system.size(f"{base}/{name}") != path.stat().st_size:
                system.put_file(str(path), f"{base}/{name}")

    def _check_root(self, uri: str) -> None:
        inside = any(uri.startswith(f"{root}/") for root in self._allowed)
        if not inside or ".." in unquote(uri).split("/"):
            raise InvalidRequestError("uri", f"a folder below {' or '.join(self._allowed)}", uri[:200])

    def _check_real(self, source: str) -> None:
        """A symbolic link must not lead out of the roots."""
        real = _local(source).resolve()
        roots = [_local(root).resolve() for root in self._allowed if root.startswith("file://")]
        if not any(real.is_relative_to(root) for root in roots):
            raise InvalidRequestError("uri", f"a file below {' or '.join(self._allowed)}", f"{source} -> {real}")


def _local(uri: str) -> Path:
    return Path(unquote(urlsplit(uri).path))


def _put_folder(folder: Path, files: Mapping[str, Path]) -> None:
    if folder.exists():
        return
    part = folder.with_name(f"{folder.name}.part-{uuid.uuid4().hex}")
    part.mkdir(parents=True)
    try:
        for name, path in files.items():
            target = part / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            _sync(target)
        _sync(part)
        try:
            part.rename(folder)
        except OSError:
            if not folder.exists():  # else somebody else put the same content first
                raise
        _sync(folder.parent)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _sync(path: Path) -> None:
    fd: Any = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
