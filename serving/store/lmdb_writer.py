"""The writer's side of the store over LMDB: one file that all processes of a node share."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import lmdb

from serving.environments import Durability, EnvironmentLease
from serving.errors import PositionConflictError, StoreFullError, StoreUnavailableError
from serving.store.checksum import unwrapped, wrapped
from serving.store.limits import check_changes, check_limit
from serving.store.lmdb_layout import (
    CURSOR,
    ENTRY,
    ORDER,
    RANK,
    SHARD_KINDS,
    SIZE,
    get,
    prefix_of,
    remove,
    shard_prefix,
    walk,
)
from serving.store.lmdb_queries import LmdbQueries
from serving.store.lmdb_rankings import Rankings
from serving.store.port import Change, Cursor, Rank, Usage

_FORGOTTEN = 10_000
"""Keys of a damaged shard that one transaction deletes: others write in between."""


class LmdbWriter(LmdbQueries):
    """See port.py. `budget`: bytes of pages in use that a write may not grow beyond."""

    def __init__(self, path: Path, budget: int, durability: Durability) -> None:
        super().__init__(EnvironmentLease(path, StoreUnavailableError, full=StoreFullError, durability=durability))
        self._budget = budget
        self._shared: lmdb.Transaction | None = None

    def cursor(self, shard: int) -> Cursor | None:
        """Return where the shard stands; None when nothing was ever written.

        When the cursor is damaged nobody knows what the shard's entries contain, so they are forgotten with it.
        """
        at = shard_prefix(CURSOR, shard)
        with self._lease.reading() as transaction:
            raw = get(transaction, at)
        stored = unwrapped(at, raw)
        if raw is not None and stored is None:
            self._forget(shard, raw)
        return Cursor.decode(stored) if stored is not None else None

    def write(self, shard: int, expected: Cursor | None, new: Cursor, changes: Sequence[Change | Rank]) -> None:
        """Apply all changes and move the cursor, or raise PositionConflictError and do nothing.

        Values in the order given: sorting, or `putmulti`, measured no faster.
        """
        check_changes(changes)
        removing = all(change[2] is None for change in changes)
        with self._guarded(shard, expected, removing=removing) as transaction:
            rankings = Rankings(transaction, shard)
            for change in changes:
                if isinstance(change, Rank):
                    rankings.apply(change)
                    continue
                space, key, value = change
                full = prefix_of(ENTRY, shard, space) + key
                if value is None:
                    transaction.delete(full)
                else:
                    transaction.put(full, wrapped(value))
            rankings.flush()
            transaction.put(shard_prefix(CURSOR, shard), wrapped(new.encode()))

    @contextmanager
    def together(self) -> Iterator[None]:
        """One transaction for the writes within, and so all of them or none."""
        with self._lease.writing() as transaction:
            self._shared = transaction
            try:
                yield
            finally:
                self._shared = None

    def drop(self, shard: int, expected: Cursor | None, name: bytes, limit: int) -> bool:
        """Remove at most `limit` entries of this name; True = nothing is left."""
        check_limit(limit)
        with self._guarded(shard, expected, removing=True) as transaction:
            removed = remove(transaction, prefix_of(ENTRY, shard, name), limit)
            if removed < limit:
                removed += Rankings(transaction, shard).remove(name, limit - removed)
            if removed < limit:  # scores that have no place in the order
                remove(transaction, prefix_of(RANK, shard, name), limit - removed)
            kinds = (ENTRY, ORDER, RANK)
            left = any(next(walk(transaction, prefix_of(kind, shard, name)), None) for kind in kinds)
            if not left:
                transaction.delete(prefix_of(SIZE, shard, name))
            return not left

    def usage(self) -> Usage:
        """Return the bytes of pages in use, which is less than the file has: freed pages are used again."""
        with self._lease.reading() as transaction:
            return Usage(self._used(transaction), self._budget)

    def sweep(self) -> None:
        """Clear the slots of killed readers: they would pin old pages until the map is full."""
        self._lease.sweep()

    def close(self) -> None:
        """Close the environment when nobody else in this process uses it."""
        self._lease.close()

    @contextmanager
    def _transaction(self) -> Iterator[lmdb.Transaction]:
        if self._shared is not None:
            yield self._shared
            return
        with self._lease.writing() as transaction:
            yield transaction

    @contextmanager
    def _guarded(self, shard: int, expected: Cursor | None, *, removing: bool) -> Iterator[lmdb.Transaction]:
        """Write if the cursor is the expected one, and unless that grows the store beyond its budget.

        What only removes is never refused, though it may grow by a page: a cursor gets longer.
        """
        at = shard_prefix(CURSOR, shard)
        with self._transaction() as transaction:
            raw = get(transaction, at)
            if raw != (wrapped(expected.encode()) if expected is not None else None):
                stored = unwrapped(at, raw)
                actual = Cursor.decode(stored) if stored is not None else None
                raise PositionConflictError(f"shard {shard}: expected the cursor {expected}, got {actual}")
            before = self._used(transaction)
            yield transaction
            after = self._used(transaction)
            if after > self._budget and after > before and not removing:
                raise StoreFullError(f"{self._lease.path}: {before} of {self._budget} bytes are in use")

    def _used(self, transaction: lmdb.Transaction) -> int:
        found = transaction.stat(self._lease.main)
        return int(found["psize"] * (found["branch_pages"] + found["leaf_pages"] + found["overflow_pages"]))

    def _forget(self, shard: int, damaged: bytes) -> None:
        """Delete a shard, the cursor last, and only while the cursor is the damaged one."""
        at, left = shard_prefix(CURSOR, shard), _FORGOTTEN
        while left:
            with self._lease.writing() as transaction:
                if get(transaction, at) != damaged:  # somebody else did it first
                    return
                left = _FORGOTTEN
                for kind in SHARD_KINDS:
                    left -= remove(transaction, shard_prefix(kind, shard), left)
                if left:
                    transaction.delete(at)
                    return
