"""Whole stores over LMDB as files: copied while others write, looked into, and put where there is none."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lmdb

from serving.boot import BootMark, sync_folder
from serving.environments import Durability, EnvironmentLease, door
from serving.errors import StoreFullError, StoreUnavailableError
from serving.store.checksum import unwrapped
from serving.store.lmdb_layout import CURSOR, walk
from serving.store.port import Cursor

FILE = "data.mdb"
_SHARD_BYTES = 2


def copy_store(folder: Path, target: Path, durability: Durability) -> Path:
    """Write what was committed last as one compact file below `target`, an empty folder; return the file.

    Writers go on meanwhile; their file grows, as the pages of that moment are kept. StoreUnavailableError.
    """
    lease = EnvironmentLease(folder, StoreUnavailableError, full=StoreFullError, durability=durability)
    try:
        with lease.converted():
            lease.environment.copy(str(target), compact=True)
    finally:
        lease.close()
    return target / FILE


def cursors_in(file: Path) -> dict[int, Cursor]:
    """Return the cursor of each shard in a file that nobody writes; StoreUnavailableError when it is no store."""
    found = {}
    try:
        with (
            lmdb.open(str(file), subdir=False, readonly=True, lock=False) as environment,
            environment.begin() as reading,
        ):
            for key, stored in walk(reading, CURSOR):
                cursor = unwrapped(CURSOR + key, stored)
                if cursor is not None and len(key) == _SHARD_BYTES:
                    found[int.from_bytes(key)] = Cursor.decode(cursor)
    except lmdb.Error as error:
        raise StoreUnavailableError(f"{file}: expected a store over LMDB, got {error}") from error
    return found


def is_vacant(folder: Path, boot: str | None = None) -> bool:
    """Tell whether nothing was ever written, or nothing that can be believed (boot.py: it is moved aside then).

    StoreUnavailableError when that cannot be told, as a process has the store open.
    """
    if not folder.exists():
        return True
    with _held(folder, boot) as vacant:
        return vacant


def put_in_place(file: Path, folder: Path, boot: str | None = None) -> bool:
    """Make a synced file, of the same file system, the store, in one step; False when there is one by now."""
    folder.mkdir(parents=True, exist_ok=True)
    with _held(folder, boot) as vacant:
        if vacant:
            file.replace(folder / FILE)
            sync_folder(folder)
        return vacant


@contextmanager
def _held(folder: Path, boot: str | None) -> Iterator[bool]:
    """Keep everybody from opening the store; yield whether it is vacant."""
    with door(folder):
        mark = BootMark(folder)
        try:
            mark.enter(FILE, boot, unsynced=False)
            file = folder / FILE
            if file.exists() and not cursors_in(file):
                if not mark.alone():  # it would write on into a file that has lost its name
                    raise StoreUnavailableError(f"{folder}: expected a store that nobody has open")
                yield True
            else:
                yield not file.exists()
        finally:
            mark.abandon()
