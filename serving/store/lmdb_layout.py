"""What LMDB holds: keys, and how to walk over them.

    C shard                                 the shard's cursor
    E shard length space key                an entry's value
    R shard length ranking member           a member's score
    O shard length ranking score member     the same in order of scores; empty values
    N shard length ranking                  how many members

The first byte is the kind, the next two are the shard; numbers are big-endian, so that keys sort by them.
"""

from collections.abc import Iterator
from functools import lru_cache
from itertools import takewhile
from struct import Struct
from typing import Any, cast

import lmdb

from serving.store.limits import check_name

CURSOR, ENTRY, RANK, ORDER, SIZE = b"C", b"E", b"R", b"O", b"N"
SHARD_KINDS = (ENTRY, RANK, ORDER, SIZE)

NUMBER = Struct(">Q")
_SHARD = Struct(">H")
_REMEMBERED = 4096


@lru_cache(maxsize=_REMEMBERED)
def shard_prefix(kind: bytes, shard: int) -> bytes:
    """Return what the keys of a kind and shard begin with."""
    return kind + _SHARD.pack(shard)


@lru_cache(maxsize=_REMEMBERED)
def prefix_of(kind: bytes, shard: int, name: bytes) -> bytes:
    """Return what the keys of a space or ranking begin with; InvalidRequestError for what is no name."""
    check_name(name)
    return shard_prefix(kind, shard) + bytes([len(name)]) + name


def get(transaction: Any, key: bytes) -> bytes | None:
    """Read a stored value. `Any`, as its type allows for memoryviews, and a cast would cost what a lookup does."""
    stored: bytes | None = transaction.get(key)
    return stored


def walk(transaction: lmdb.Transaction, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
    """Yield keys, without the prefix, and values in order of keys, from prefix + start on."""
    cursor = transaction.cursor()
    if not cursor.set_range(prefix + start):
        return
    length = len(prefix)
    for key, stored in cast("Iterator[tuple[bytes, bytes]]", cursor.iternext()):
        if not key.startswith(prefix):
            return
        yield key[length:], stored


def count(transaction: lmdb.Transaction, prefix: bytes) -> int:
    """Walk over the keys of a prefix, the fastest way that there is."""
    cursor = transaction.cursor()
    if not cursor.set_range(prefix):
        return 0
    keys = cast("Iterator[bytes]", cursor.iternext(values=False))
    return sum(1 for _ in takewhile(lambda key: key.startswith(prefix), keys))


def remove(transaction: lmdb.Transaction, prefix: bytes, limit: int) -> int:
    """Delete the first `limit` keys of a prefix; return how many there were."""
    cursor = transaction.cursor()
    removed = 0
    found = cursor.set_range(prefix)
    while found and removed < limit and cast("bytes", cursor.key()).startswith(prefix):
        found = cursor.delete() and bool(cursor.key())  # stands at the next one, or nowhere
        removed += 1
    return removed


def names(transaction: lmdb.Transaction, kind: bytes, shard: int) -> list[bytes]:
    """Return which spaces or rankings there are: one look at each, however much it holds."""
    cursor, prefix = transaction.cursor(), shard_prefix(kind, shard)
    found: list[bytes] = []
    there = cursor.set_range(prefix)
    while there:
        key = cast("bytes", cursor.key())
        if not key.startswith(prefix):
            break
        end = len(prefix) + 1 + key[len(prefix)]
        found.append(key[len(prefix) + 1 : end])
        there = cursor.set_range(_behind(key[:end]))
    return sorted(found)


def _behind(prefix: bytes) -> bytes:
    """Return the first key that is behind all that begin so."""
    shorter = prefix.rstrip(b"\xff")
    return shorter[:-1] + bytes([shorter[-1] + 1])
