"""The store over LMDB: one file that all processes of a node share. A read is about a microsecond.

Keys: table (1 byte), shard (2 bytes, big-endian), key.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from struct import Struct
from typing import cast

import lmdb

from serving.environments import EnvironmentLease
from serving.errors import PositionConflictError, StoreUnavailableError
from serving.store.checksum import unwrapped, wrapped
from serving.store.port import Change, Cursor, Key, Table

_CURSOR = b"c"
_SHARD = Struct(">H")


def _full_key(table: bytes, shard: int, key: bytes) -> bytes:
    return table + _SHARD.pack(shard) + key


def _stored(transaction: lmdb.Transaction, key: bytes) -> bytes | None:
    return cast("bytes | None", transaction.get(key))  # memoryviews only when asked for


def _entries(transaction: lmdb.Transaction, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
    cursor = transaction.cursor()
    found = cursor.set_range(prefix)
    while found:
        key, stored = cast("tuple[bytes, bytes]", cursor.item())
        if not key.startswith(prefix):
            return
        yield key, stored
        found = cursor.next()


class LmdbWriter:
    """See port.py. Every write is synced before it returns."""

    def __init__(self, path: Path) -> None:
        self._lease = EnvironmentLease(path, StoreUnavailableError)

    def cursor(self, shard: int) -> Cursor | None:
        """Return where the shard stands; None when nothing was ever written.

        When the cursor is damaged nobody knows what the shard's entries contain, so they are forgotten with it.
        """
        at = _full_key(_CURSOR, shard, b"")
        with self._lease.reading() as transaction:
            raw = _stored(transaction, at)
        stored = unwrapped(at, raw)
        if raw is not None and stored is None:
            self._forget(shard, raw)
        return Cursor.decode(stored) if stored is not None else None

    def read(self, shard: int, table: Table, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the value of each key, None where there is none."""
        with self._lease.reading() as transaction:
            full = [_full_key(table.value, shard, key) for key in keys]
            return [unwrapped(key, _stored(transaction, key)) for key in full]

    def write(self, shard: int, expected: Cursor | None, new: Cursor, changes: Sequence[Change]) -> None:
        """Apply all changes and move the cursor, or raise PositionConflictError and do nothing."""
        at = _full_key(_CURSOR, shard, b"")
        with self._lease.writing() as transaction:
            raw = _stored(transaction, at)
            if raw != (wrapped(expected.encode()) if expected is not None else None):
                stored = unwrapped(at, raw)
                actual = Cursor.decode(stored) if stored is not None else None
                raise PositionConflictError(f"shard {shard}: expected the cursor {expected}, got {actual}")
            for change in changes:
                key = _full_key(change.table.value, shard, change.key)
                if change.value is None:
                    transaction.delete(key)
                else:
                    transaction.put(key, wrapped(change.value))
            transaction.put(at, wrapped(new.encode()))

    def scan(self, shard: int, table: Table) -> Iterator[tuple[bytes, bytes]]:
        """Yield every entry of a shard in order of keys."""
        prefix = _full_key(table.value, shard, b"")
        with self._lease.reading() as transaction:
            for key, stored in _entries(transaction, prefix):
                value = unwrapped(key, stored)
                if value is not None:
                    yield key[len(prefix) :], value

    def sweep(self) -> None:
        """Clear the slots of killed readers: they would pin old pages until the map is full."""
        self._lease.sweep()

    def close(self) -> None:
        """Close the environment when nobody else in this process uses it."""
        self._lease.close()

    def _forget(self, shard: int, damaged: bytes) -> None:
        at = _full_key(_CURSOR, shard, b"")
        with self._lease.writing() as transaction:
            if _stored(transaction, at) != damaged:  # somebody else did it first
                return
            for table in Table:
                prefix = _full_key(table.value, shard, b"")
                for key in [key for key, _ in _entries(transaction, prefix)]:
                    transaction.delete(key)
            transaction.delete(at)


class LmdbReader:
    """See port.py. Reads are done before `read` returns: nothing is awaited."""

    def __init__(self, path: Path) -> None:
        self._lease = EnvironmentLease(path, StoreUnavailableError)

    async def read(self, keys: Sequence[Key]) -> list[bytes | None]:
        """Return the value of each key in one read transaction.

        Every request comes through here, so it does by hand what the lease's `reading` does in twice the time.
        """
        full = [_full_key(key.table.value, key.shard, key.key) for key in keys]
        try:
            with self._lease.environment.begin() as transaction:
                return [unwrapped(key, _stored(transaction, key)) for key in full]
        except lmdb.Error as error:
            raise StoreUnavailableError(f"{self._lease.path}: {error}") from error

    async def close(self) -> None:
        """Close the environment when nobody else in this process uses it."""
        self._lease.close()
