"""The writer's side of the store over LMDB: one file that all processes of a node share."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import lmdb

from serving.environments import Durability, EnvironmentLease
from serving.errors import PositionConflictError, StoreFullError, StoreUnavailableError
from serving.store.checksum import unwrapped, wrapped
from serving.store.limits import check_changes, check_keys, check_limit
from serving.store.lmdb_layout import (
    CURSOR,
    ENTRY,
    ORDER,
    RANK,
    SHARD_KINDS,
    get,
    names,
    prefix_of,
    remove,
    shard_prefix,
    walk,
)  # fmt: skip
from serving.store.lmdb_rankings import Rankings
from serving.store.port import MAX_SCORE, Change, Cursor, Rank, Usage

_PAGE = 1000
_FORGOTTEN = 10_000
"""Keys of a damaged shard that one transaction deletes: others write in between."""


class LmdbWriter:
    """See port.py. `budget`: bytes of pages in use that a write may not grow beyond."""

    def __init__(self, path: Path, budget: int, durability: Durability) -> None:
        self._lease = EnvironmentLease(path, StoreUnavailableError, full=StoreFullError, durability=durability)
        self._budget = budget

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

    def read(self, shard: int, space: bytes, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the value of each key, None where there is none."""
        check_keys(keys)
        prefix = prefix_of(ENTRY, shard, space)
        with self._lease.reading() as transaction:
            return [unwrapped(full, get(transaction, full)) for full in [prefix + key for key in keys]]

    def write(self, shard: int, expected: Cursor | None, new: Cursor, changes: Sequence[Change | Rank]) -> None:
        """Apply all changes and move the cursor, or raise PositionConflictError and do nothing.

        In the order given: sorting, or `putmulti`, measured no faster.
        """
        check_changes(changes)
        with self._guarded(shard, expected) as transaction:
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

    def drop(self, shard: int, expected: Cursor | None, name: bytes, limit: int) -> bool:
        """Remove at most `limit` entries of this name; True = nothing is left."""
        check_limit(limit)
        with self._guarded(shard, expected) as transaction:
            removed = remove(transaction, prefix_of(ENTRY, shard, name), limit)
            rankings = Rankings(transaction, shard)
            if removed < limit:
                removed += rankings.remove(name, limit - removed)
            if removed < limit:  # scores that an order damaged elsewhere left behind
                removed += remove(transaction, prefix_of(RANK, shard, name), limit - removed)
            rankings.flush()
            kinds = (ENTRY, ORDER, RANK)
            return not any(next(walk(transaction, prefix_of(kind, shard, name)), None) for kind in kinds)

    def scan(self, shard: int, space: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield every entry in order of keys; a transaction a page, since a long one would pin old pages."""
        prefix, start = prefix_of(ENTRY, shard, space), b""
        while True:
            with self._lease.reading() as transaction:
                page = list(islice(walk(transaction, prefix, start), _PAGE))
            for key, stored in page:
                value = unwrapped(prefix + key, stored)
                if value is not None:
                    yield key, value
            if len(page) < _PAGE:
                return
            start = page[-1][0] + b"\0"

    def spaces(self, shard: int) -> list[bytes]:
        """Return the names of the spaces that hold anything."""
        with self._lease.reading() as transaction:
            return names(transaction, ENTRY, shard)

    def count(self, shard: int, space: bytes) -> int:
        """Walk over the space's keys."""
        with self._lease.reading() as transaction:
            return sum(1 for _ in walk(transaction, prefix_of(ENTRY, shard, space)))

    def ranked(
        self, shard: int, ranking: bytes, limit: int, *, least: int = 0, most: int = MAX_SCORE
    ) -> list[tuple[bytes, int]]:
        """Return the first members in order of scores."""
        check_limit(limit)
        with self._lease.reading() as transaction:
            return Rankings(transaction, shard).first(ranking, limit, max(0, least), most)

    def ranks(self, shard: int, ranking: bytes, members: Sequence[bytes]) -> list[int | None]:
        """Return the score of each member."""
        check_keys(members)
        with self._lease.reading() as transaction:
            rankings = Rankings(transaction, shard)
            return [rankings.score(ranking, member) for member in members]

    def rankings(self, shard: int) -> list[bytes]:
        """Return the names of the rankings that hold anything."""
        with self._lease.reading() as transaction:
            return names(transaction, ORDER, shard)

    def size(self, shard: int, ranking: bytes) -> int:
        """Return how many members a ranking has."""
        with self._lease.reading() as transaction:
            return Rankings(transaction, shard).size(ranking)

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
    def _guarded(self, shard: int, expected: Cursor | None) -> Iterator[lmdb.Transaction]:
        """Write if the cursor is the expected one, and unless that grows the store beyond its budget."""
        at = shard_prefix(CURSOR, shard)
        with self._lease.writing() as transaction:
            raw = get(transaction, at)
            if raw != (wrapped(expected.encode()) if expected is not None else None):
                stored = unwrapped(at, raw)
                actual = Cursor.decode(stored) if stored is not None else None
                raise PositionConflictError(f"shard {shard}: expected the cursor {expected}, got {actual}")
            before = self._used(transaction)
            yield transaction
            after = self._used(transaction)
            if after > self._budget and after > before:
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
