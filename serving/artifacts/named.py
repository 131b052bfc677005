"""Folders of the artifact store that go by a name, not by their content, and can be listed and removed.

One is there when its last file is: whoever puts it gives the file that says so last, and whoever removes it names it
first.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec

from serving.artifacts.paths import check_path
from serving.artifacts.store import FsspecArtifacts, local_path, root_url
from serving.artifacts.systems import open_system, reason
from serving.errors import ArtifactUnavailableError

_FILE = "file://"


class NamedFolders:
    """The folders directly below `<root>/<path>`. Every method raises ArtifactUnavailableError."""

    def __init__(self, root: str, path: str) -> None:
        check_path(path)
        self._artifacts = FsspecArtifacts(root)
        self._path = path
        self.url = f"{root_url(root)}/{path}"

    @property
    def surely_empty(self) -> bool:
        """Tell, without asking anybody, that nothing was ever put; false when that takes asking."""
        return self.url.startswith(_FILE) and not local_path(self.url).exists()

    def put(self, name: str, files: Mapping[str, Path]) -> str:
        """Store local files, in this order; return the folder's URL. A name is used once."""
        return self._artifacts.put_at(f"{self._path}/{name}", files)

    def fetch(self, name: str, path: str, target: Path, size: int) -> None:
        """Copy one file, which has to have that size; OSError when `target` cannot be written."""
        self._artifacts.fetch(f"{self.url}/{name}", path, target, size)

    def names(self) -> list[str]:
        """Return the names in order, also of folders that are not whole."""
        with self._opened() as (system, base):
            system.invalidate_cache()  # others add to it
            try:
                found = system.ls(base, detail=False)
            except FileNotFoundError:
                return []
            return sorted(str(path).rstrip("/").rpartition("/")[2] for path in found)

    def read(self, name: str, path: str, most: int) -> bytes | None:
        """Return a small file, its first bytes when it is larger; None when it is not there."""
        with self._opened() as (system, base):
            try:
                data: bytes = system.cat_file(f"{base}/{name}/{path}", 0, most)
            except (FileNotFoundError, NotADirectoryError):
                return None
            return data

    def remove(self, name: str, first: str) -> None:
        """Remove a folder, the file `first` before all others; one that is gone already is no error."""
        check_path(name)
        with self._opened() as (system, base):
            for path, deep in ((f"{base}/{name}/{first}", False), (f"{base}/{name}", True)):
                try:
                    system.rm(path, recursive=deep)
                except FileNotFoundError:
                    continue

    @contextmanager
    def _opened(self) -> Iterator[tuple[Any, str]]:
        try:
            if self.url.startswith(_FILE):
                yield fsspec.filesystem("file"), str(local_path(self.url))
            else:
                yield open_system(self.url)
        except Exception as error:
            raise ArtifactUnavailableError(f"artifact store {self.url}: {reason(error)}") from error
