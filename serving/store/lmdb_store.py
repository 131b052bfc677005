"""The store over LMDB: one file that all processes of a node share. A read is about a microsecond.

Keys: table (1 byte), shard (2 bytes, big-endian), key. Each value stands behind its CRC-32, so that a damaged one
counts as none.
"""

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from struct import Struct

import structlog

from serving.environments import EnvironmentLease
from serving.errors import PositionConflictError, StoreUnavailableError
from serving.store.port import Change, Cursor, Key, Table

log = structlog.get_logger()

_CURSOR = b"c"
_SHARD = Struct(">H")
_SUM = Struct(">I")


def _full_key(table: bytes, shard: int, key: bytes) -> bytes:
    return table + _SHARD.pack(shard) + key


def _wrapped(value: bytes) -> bytes:
    return _SUM.pack(zlib.crc32(value)) + value


def _unwrapped(key: bytes, stored: bytes | None) -> bytes | None:
    if stored is None:
        return None
    value = stored[_SUM.size :]
    if len(stored) < _SUM.size or zlib.crc32(value) != _SUM.unpack_from(stored)[0]:
        log.error("store.damaged", key=key.hex(), action="treated as missing, to be computed again")
        return None
    return value


class LmdbWriter:
    """See port.py. Every write is synced before it returns."""

    def __init__(self, path: Path) -> None:
        self._lease = EnvironmentLease(path, StoreUnavailableError)

    def cursor(self, shard: int) -> Cursor | None:
        """Return where the shard stands; None when nothing was ever written."""
        with self._lease.reading() as transaction:
            stored = _unwrapped(_CURSOR, transaction.get(_full_key(_CURSOR, shard, b"")))
        return Cursor.decode(stored) if stored is not None else None

    def read(self, shard: int, table: Table, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the value of each key, None where there is none."""
        with self._lease.reading() as transaction:
            full = [_full_key(table.value, shard, key) for key in keys]
            return [_unwrapped(key, transaction.get(key)) for key in full]

    def write(self, shard: int, expected: Cursor | None, new: Cursor, changes: Sequence[Change]) -> None:
        """Apply all changes and move the cursor, or raise PositionConflictError and do nothing."""
        at = _full_key(_CURSOR, shard, b"")
        with self._lease.writing() as transaction:
            stored = _unwrapped(at, transaction.get(at))
            if stored != (expected.encode() if expected else None):
                actual = Cursor.decode(stored) if stored else None
                raise PositionConflictError(f"shard {shard}: expected the cursor {expected}, got {actual}")
            for change in changes:
                key = _full_key(change.table.value, shard, change.key)
                if change.value is None:
                    transaction.delete(key)
                else:
                    transaction.put(key, _wrapped(change.value))
            transaction.put(at, _wrapped(new.encode()))

    def scan(self, shard: int, table: Table) -> Iterator[tuple[bytes, bytes]]:
        """Yield every entry of a shard in order of keys."""
        prefix = _full_key(table.value, shard, b"")
        with self._lease.reading() as transaction:
            cursor = transaction.cursor()
            found = cursor.set_range(prefix)
            while found and cursor.key().startswith(prefix):
                value = _unwrapped(cursor.key(), cursor.value())
                if value is not None:
                    yield cursor.key()[len(prefix) :], value
                found = cursor.next()

    def sweep(self) -> None:
        """Clear the slots of killed readers: they would pin old pages until the map is full."""
        self._lease.sweep()

    def close(self) -> None:
        """Close the environment when nobody else in this process uses it."""
        self._lease.close()


class LmdbReader:
    """See port.py. Reads are done before `read` returns: nothing is awaited."""

    def __init__(self, path: Path) -> None:
        self._lease = EnvironmentLease(path, StoreUnavailableError)

    async def read(self, keys: Sequence[Key]) -> list[bytes | None]:
        """Return the value of each key in one read transaction."""
        with self._lease.reading() as transaction:
            full = [_full_key(key.table.value, key.shard, key.key) for key in keys]
            return [_unwrapped(key, transaction.get(key)) for key in full]

    async def close(self) -> None:
        """Close the environment when nobody else in this process uses it."""
        self._lease.close()
