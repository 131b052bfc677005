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


def standing_in(folder: Path, boot: str | None = None) -> dict[int, Cursor]:
    """Return the cursors of a store; none when nothing was written, or nothing that can be believed.

    What cannot be believed (boot.py) is moved aside. StoreUnavailableError while a process has the store open.
    """
    if not folder.exists():
        return {}
    with _held(folder, boot) as cursors:
        return cursors


def put_in_place(file: Path, folder: Path, expected: dict[int, Cursor], boot: str | None = None) -> bool:
    """Make a synced file, of the same file system, the store, in one step.

    False when the cursors of the one there are not the expected ones. One that was written to is kept aside.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _held(folder, boot) as cursors:
        if cursors != expected:
            return False
        if cursors:
            (folder / FILE).replace(folder / f"{FILE}.behind")
        file.replace(folder / FILE)
        sync_folder(folder)
        return True


@contextmanager
def _held(folder: Path, boot: str | None) -> Iterator[dict[int, Cursor]]:
    """Keep everybody from opening the store; yield its cursors."""
    with door(folder):
        mark = BootMark(folder)
        try:
            mark.enter(FILE, boot, unsynced=False)
            there = (folder / FILE).exists()
            if there and not mark.alone():  # it would write on into a file that has lost its name
                raise StoreUnavailableError(f"{folder}: expected a store that nobody has open")
            yield cursors_in(folder / FILE) if there else {}
        except OSError as error:
            raise StoreUnavailableError(f"{error.filename or folder}: {error.strerror or error}") from error
        finally:
            mark.abandon()
