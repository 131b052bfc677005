"""LMDB environments: a process must not open one twice, so it has one per path, closed by its last user.

The map is reserved once, as a sparse file: growing it raises MapResizedError in every other process.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lmdb
from filelock import FileLock

from serving.errors import UnavailableError

MAP_BYTES = 64 << 30
_READERS = 1024
_NAMED = 8
_DOOR_S = 30.0

Databases = dict[bytes, Any]

_open: dict[Path, tuple[lmdb.Environment, Databases, int]] = {}
_lock = threading.Lock()


class EnvironmentLease:
    """One user's hold on an environment.

    `unavailable`: what its errors are raised as. `names`: its named databases, the same for every user of a path;
    they are opened with the environment, since `open_db` waits for other writers while it holds the GIL: with two
    threads in one process, for ever.
    """

    def __init__(self, path: Path, unavailable: type[UnavailableError], names: Sequence[bytes] = ()) -> None:
        self.path = path.absolute()
        self._unavailable = unavailable
        self._closed = False
        with _lock, self.converted():
            environment, databases, users = _open.get(self.path) or (*_create(self.path, names), 0)
            _open[self.path] = (environment, databases, users + 1)
        self.environment = environment
        self.databases = databases

    @contextmanager
    def converted(self) -> Iterator[None]:
        """Turn LMDB's errors into ours."""
        try:
            yield
        except lmdb.MapFullError as error:
            raise self._unavailable(f"{self.path}: its {MAP_BYTES} bytes are full") from error
        except (lmdb.Error, OSError) as error:  # filelock's Timeout is an OSError
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
        """Let go; the last user closes. Once more changes nothing."""
        with _lock:
            if self._closed:
                return
            self._closed = True
            environment, databases, users = _open.pop(self.path)
            if users > 1:
                _open[self.path] = (environment, databases, users - 1)
            else:
                with _door(self.path):
                    environment.close()


def _create(path: Path, names: Sequence[bytes]) -> tuple[lmdb.Environment, Databases]:
    path.mkdir(parents=True, exist_ok=True)
    with _door(path):
        environment = lmdb.open(str(path), map_size=MAP_BYTES, max_readers=_READERS, max_dbs=_NAMED)
        environment.reader_check()
        return environment, {name: environment.open_db(name) for name in names}


def _door(path: Path) -> FileLock:
    """One process opens or closes at a time.

    Whoever closes last destroys the writers' mutex in the shared file, and another one that is just opening would go
    on to use it: its first write then fails, or hangs for ever (LMDB since 0.9.27).
    """
    return FileLock(path / "door.lock", timeout=_DOOR_S)
