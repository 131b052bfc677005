"""LMDB environments: a process must not open one twice, so it has one per path, closed by its last user.

The map is reserved once, as a sparse file: growing it raises MapResizedError in every other process.
"""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import lmdb
import structlog
from filelock import FileLock

from serving.boot import BootMark
from serving.errors import UnavailableError

log = structlog.get_logger()

MAP_BYTES = 64 << 30
_READERS = 1024
_NAMED = 8
_DOOR_S = 30.0
_HARDLY_ANY = 1 << 20

Databases = dict[bytes, Any]
Durability = Literal["batch", "process"]
"""`batch`: every write is synced. `process`: none is; after a power loss one starts empty (boot.py)."""


@dataclass
class _Shared:
    environment: lmdb.Environment
    main: Any
    databases: Databases
    mark: BootMark
    users: int = 0


_open: dict[Path, _Shared] = {}
_lock = threading.Lock()


class EnvironmentLease:
    """One user's hold on an environment.

    `unavailable`: what its errors are raised as, `full`: those for want of room. `names`: its named databases, the
    same for every user of a path; they are opened with the environment, since `open_db` waits for other writers while
    it holds the GIL: with two threads in one process, for ever. `durability`: as the first user of a path wants it.
    `boot`: this start of the machine, for tests.
    """

    def __init__(
        self,
        path: Path,
        unavailable: type[UnavailableError],
        names: Sequence[bytes] = (),
        *,
        full: type[UnavailableError] | None = None,
        durability: Durability = "batch",
        boot: str | None = None,
    ) -> None:
        self.path = path.absolute()
        self._unavailable = unavailable
        self._full = full or unavailable
        self._closed = False
        with _lock, self.converted():
            shared = _open.get(self.path) or _create(self.path, names, durability, boot)
            shared.users += 1
            _open[self.path] = shared
        self.environment = shared.environment
        self.main = shared.main
        self.databases = shared.databases

    @contextmanager
    def converted(self) -> Iterator[None]:
        """Turn LMDB's errors into ours."""
        try:
            yield
        except lmdb.MapFullError as error:
            raise self._full(f"{self.path}: its {MAP_BYTES} bytes are full") from error
        except (lmdb.Error, OSError) as error:  # filelock's Timeout is an OSError
            kind = self._full if isinstance(error, lmdb.DiskError) or _no_room(self.path) else self._unavailable
            raise kind(f"{self.path}: {error}") from error

    @contextmanager
    def reading(self) -> Iterator[lmdb.Transaction]:
        """Read what was committed last."""
        with self.converted(), self.environment.begin() as transaction:
            yield transaction

    @contextmanager
    def writing(self) -> Iterator[lmdb.Transaction]:
        """Commit at the end, or nothing when an error leaves."""
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
            shared = _open[self.path]
            shared.users -= 1
            if shared.users == 0:
                del _open[self.path]
                with door(self.path):
                    try:
                        shared.mark.leave(lambda: shared.environment.sync(True))
                    except (lmdb.Error, OSError) as error:  # a full disk, say: the mark stays, and the boot vouches
                        log.warning("environment.unsynced", path=str(self.path), error=str(error))
                    finally:
                        shared.environment.close()


def _create(path: Path, names: Sequence[bytes], durability: Durability, boot: str | None) -> _Shared:
    path.mkdir(parents=True, exist_ok=True)
    synced = durability == "batch"
    with door(path):
        mark = BootMark(path)
        try:
            mark.enter("data.mdb", boot, unsynced=not synced)
            environment = lmdb.open(
                str(path), map_size=MAP_BYTES, max_readers=_READERS, max_dbs=_NAMED, sync=synced, metasync=synced
            )
            environment.reader_check()
            databases = {name: environment.open_db(name) for name in names}
            return _Shared(environment, environment.open_db(None), databases, mark)
        except BaseException:
            mark.abandon()
            raise


def door(path: Path) -> FileLock:
    """One process opens, closes or replaces at a time.

    Whoever closes last destroys the writers' mutex in the shared file, and another one that is just opening would go
    on to use it: its first write then fails, or hangs for ever (LMDB since 0.9.27).
    """
    return FileLock(path / "door.lock", timeout=_DOOR_S)


def _no_room(path: Path) -> bool:
    """Tell whether the disk is full: a write that was cut short is told as an input/output error."""
    try:
        found = os.statvfs(path)
    except OSError:
        return False
    return found.f_bavail * found.f_frsize < _HARDLY_ANY
