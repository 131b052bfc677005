"""Rankings over LMDB, inside a transaction of the caller's: a member's score, and the order of scores.

An entry of the order counts only where the member's own score agrees, so that a damaged score leaves nothing that
comes up for ever.
"""

from itertools import islice

import lmdb

from serving.store.checksum import unwrapped, wrapped
from serving.store.lmdb_layout import NUMBER, ORDER, RANK, SIZE, get, prefix_of, walk
from serving.store.port import Rank


class Rankings:
    """The rankings of a shard. What `apply` and `remove` change in sizes is written by `flush`."""

    def __init__(self, transaction: lmdb.Transaction, shard: int) -> None:
        self._transaction = transaction
        self._shard = shard
        self._grown: dict[bytes, int] = {}

    def apply(self, rank: Rank) -> None:
        """Set, move or take out a member."""
        ranking, member, score = rank
        at = prefix_of(RANK, self._shard, ranking) + member
        old = self.score(ranking, member)
        if old == score:
            return
        order = prefix_of(ORDER, self._shard, ranking)
        if old is not None:
            self._transaction.delete(order + NUMBER.pack(old) + member)
        if score is None:
            self._transaction.delete(at)
        else:
            packed = NUMBER.pack(score)
            self._transaction.put(order + packed + member, b"")
            self._transaction.put(at, wrapped(packed))
        self._grown[ranking] = self._grown.get(ranking, 0) + (score is not None) - (old is not None)

    def remove(self, ranking: bytes, limit: int) -> int:
        """Take out the first `limit` members; return how many there were."""
        first = list(islice(walk(self._transaction, prefix_of(ORDER, self._shard, ranking)), limit))
        for key, _ in first:
            member = key[NUMBER.size :]
            self.apply(Rank(ranking, member, None))
            self._transaction.delete(prefix_of(ORDER, self._shard, ranking) + key)  # one without a score, too
        return len(first)

    def score(self, ranking: bytes, member: bytes) -> int | None:
        """Return a member's score."""
        at = prefix_of(RANK, self._shard, ranking) + member
        return _number(at, get(self._transaction, at))

    def first(self, ranking: bytes, limit: int, least: int, most: int) -> list[tuple[bytes, int]]:
        """Return the first members with scores from `least` to `most`."""
        found: list[tuple[bytes, int]] = []
        for key, _ in walk(self._transaction, prefix_of(ORDER, self._shard, ranking), NUMBER.pack(least)):
            (score,), member = NUMBER.unpack_from(key), key[NUMBER.size :]
            if score > most or len(found) == limit:
                break
            if self.score(ranking, member) == score:
                found.append((member, score))
        return found

    def size(self, ranking: bytes) -> int:
        """Return how many members there are, as of the last flush."""
        at = prefix_of(SIZE, self._shard, ranking)
        return _number(at, get(self._transaction, at)) or 0

    def flush(self) -> None:
        """Write the sizes that changed."""
        for ranking, grown in self._grown.items():
            at, size = prefix_of(SIZE, self._shard, ranking), self.size(ranking) + grown
            if size > 0:
                self._transaction.put(at, wrapped(NUMBER.pack(size)))
            else:
                self._transaction.delete(at)
        self._grown.clear()


def _number(key: bytes, stored: bytes | None) -> int | None:
    value = unwrapped(key, stored)
    return int(NUMBER.unpack(value)[0]) if value is not None and len(value) == NUMBER.size else None
