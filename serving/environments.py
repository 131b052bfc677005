"""LMDB environments: a process must not open one twice, so it has one per path, closed by its last user.

The map is reserved once, as a sparse file: growing it raises MapResizedError in every other process.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lmdb

from serving.errors import UnavailableError

MAP_BYTES = 64 << 30
_READERS = 1024
_NAMED = 8

_open: dict[Path, tuple[lmdb.Environment, int]] = {}
_lock = threading.Lock()


class EnvironmentLease:
    """One user's hold on an environment. `unavailable`: what its errors are raised as."""

    def __init__(self, path: Path, unavailable: type[UnavailableError]) -> None:
        self.path = path.absolute()
        self._unavailable = unavailable
        with _lock, self.converted():
            environment, users = _open.get(self.path) or (_create(self.path), 0)
            _open[self.path] = (environment, users + 1)
        self.environment = environment

    @contextmanager
    def converted(self) -> Iterator[None]:
        """Turn LMDB's errors into ours."""
        try:
            yield
        except lmdb.MapFullError as error:
            raise self._unavailable(f"{self.path}: its {MAP_BYTES} bytes are full") from error
        except (lmdb.Error, OSError) as error:
            raise self._unavailable(f"{self.path}: {error}") from error

    @contextmanager
    def reading(self) -> Iterator[lmdb.Transaction]:
        """Read what was committed last."""
        with self.converted(), self.environment.begin() as transaction:
            yield transaction

    @contextmanager
    def writing(self) -> Iterator[lmdb.Transaction]:
        """Commit, synced, at the end, or nothing when an error leaves."""
        with self.converted(), self.environment.begin(write=True) as transaction:
            yield transaction

    def sweep(self) -> None:
        """Clear the slots of killed readers: they would pin old pages until the map is full."""
        with self.converted():
            self.environment.reader_check()

    def close(self) -> None:
        """Let go; the last user closes."""
        with _lock:
            environment, users = _open.pop(self.path)
            if users > 1:
                _open[self.path] = (environment, users - 1)
            else:
                environment.close()


def _create(path: Path) -> lmdb.Environment:
    path.mkdir(parents=True, exist_ok=True)
    environment = lmdb.open(str(path), map_size=MAP_BYTES, max_readers=_READERS, max_dbs=_NAMED)
    environment.reader_check()
    return environment
