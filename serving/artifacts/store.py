"""The artifact store over fsspec: `<root>/sha256/<2 hex>/<digest>/<file>`.

A folder on a file system appears under its final name by one rename, after every byte was synced. Object stores
have no rename: there a file appears whole or not at all, and readers ask for the files that an announcement lists,
which is written last.
"""

import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from serving.artifacts.local import sync
from serving.artifacts.paths import check_path
from serving.artifacts.systems import open_system, reason
from serving.errors import ArtifactUnavailableError, InvalidRequestError

_CHUNK = 256 << 10
"""Of one buffer, used again and again: it stays in the processor's cache, and no page is new to the process."""
_FILE = "file://"


class FsspecArtifacts:
    """Writes under `root`; reads under `root` and the `allowed` roots, and nowhere else."""

    def __init__(self, root: str, allowed: Sequence[str] = ()) -> None:
        self._root = root_url(root)
        self._allowed = [self._root, *map(root_url, allowed)]

    def put(self, digest: str, files: Mapping[str, Path]) -> str:
        """Store local files under their relative names; return the folder's URL. See port.py for the errors."""
        return self.put_at(f"sha256/{digest[:2]}/{digest}", files)

    def put_at(self, folder: str, files: Mapping[str, Path]) -> str:
        """As `put`, into a folder that the caller names below the root; one that is there stays as it is.

        Where there is no rename the files appear in the order given, each whole.
        """
        for name in (folder, *files):
            check_path(name)
        uri = f"{self._root}/{folder}"
        try:
            if self._root.startswith(_FILE):
                _put_folder(local_path(uri), files)
            else:
                self._put_objects(uri, files)
        except Exception as error:
            raise ArtifactUnavailableError(f"artifact store {self._root}: {reason(error)}") from error
        return uri

    def fetch(self, uri: str, path: str, target: Path, size: int) -> None:
        """Copy one file of a folder to `target`; see port.py for the errors."""
        self._check_root(uri)
        check_path(path)
        with _converted(uri, path):
            reader = self._open(uri, path)
        copied, buffer = 0, memoryview(bytearray(min(_CHUNK, size + 1)))
        with closing(reader), target.open("wb") as writer:
            while copied <= size:
                with _converted(uri, path):
                    count = reader.readinto(buffer[: size + 1 - copied])
                if not count:
                    break
                copied += count
                writer.write(buffer[:count])
        if copied != size:
            got = "more" if copied > size else copied
            raise ArtifactUnavailableError(f"{path}: expected {size} bytes as announced, got {got}")

    def _open(self, uri: str, path: str) -> Any:
        if uri.startswith(_FILE):
            return self._real(uri, path).open("rb", buffering=0)
        system, name = open_system(f"{uri.rstrip('/')}/{path}")
        return system.open(name, "rb")

    def _put_objects(self, uri: str, files: Mapping[str, Path]) -> None:
        system, base = open_system(uri)
        for name, path in files.items():
            if not system.exists(f"{base}/{name}") or system.size(f"{base}/{name}") != path.stat().st_size:
                system.put_file(str(path), f"{base}/{name}")

    def _check_root(self, uri: str) -> None:
        inside = any(uri.startswith(f"{root}/") for root in self._allowed)
        if not inside or ".." in unquote(uri).split("/") or "::" in uri:  # which would chain file systems
            raise InvalidRequestError("uri", f"a folder below {' or '.join(self._allowed)}", uri[:200])

    def _real(self, uri: str, path: str) -> Path:
        """Return the file; a symbolic link must not lead out of the roots."""
        real = (local_path(uri) / path).resolve()
        roots = [local_path(root).resolve() for root in self._allowed if root.startswith(_FILE)]
        if not any(real.is_relative_to(root) for root in roots):
            raise InvalidRequestError("uri", f"a file below {' or '.join(self._allowed)}", f"{uri}/{path} -> {real}")
        if real.exists() and not real.is_file():  # a pipe would never end
            raise FileNotFoundError(real)
        return real


@contextmanager
def _converted(uri: str, path: str) -> Iterator[None]:
    """Turn what goes wrong at the source into our error; what goes wrong at the target is the caller's."""
    try:
        yield
    except InvalidRequestError:
        raise
    except FileNotFoundError as error:
        raise ArtifactUnavailableError(f"{path}: expected at {uri}, found nothing") from error
    except Exception as error:
        raise ArtifactUnavailableError(f"{path}: {reason(error)}") from error


def root_url(root: str) -> str:
    """Return a root as a URL that ends without a slash; one without a scheme is a local folder."""
    return root.rstrip("/") if "://" in root else Path(root).absolute().as_uri()


def local_path(uri: str) -> Path:
    """Return what a `file://` URL means."""
    return Path(unquote(urlsplit(uri).path))


def _put_folder(folder: Path, files: Mapping[str, Path]) -> None:
    if folder.exists():
        sync(folder.parent)  # whoever put it may have died before
        return
    part = folder.with_name(f"{folder.name}.part-{uuid.uuid4().hex}")
    made = [parent for parent in part.parents if not parent.exists()]
    part.mkdir(parents=True)
    try:
        for name, path in files.items():
            target = part / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            sync(target)
        for parent in {parent for name in files for parent in (part / name).parents if parent.is_relative_to(part)}:
            sync(parent)
        try:
            part.rename(folder)
        except OSError:
            if not folder.exists():  # else somebody else put the same content first
                raise
        for parent in (folder.parent, *(new.parent for new in made)):
            sync(parent)
    finally:
        shutil.rmtree(part, ignore_errors=True)
