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
    """The rankings of a shard. `apply` and `remove` count once `flush` has written them."""

    def __init__(self, transaction: lmdb.Transaction, shard: int) -> None:
        self._transaction = transaction
        self._shard = shard
        self._moves: dict[bytes, dict[bytes, int | None]] = {}

    def apply(self, rank: Rank) -> None:
        """Set, move or take out a member; the last of a member counts."""
        ranking, member, score = rank
        moves = self._moves.get(ranking)
        if moves is None:
            prefix_of(RANK, self._shard, ranking)  # refuses what is no name
            moves = self._moves[ranking] = {}
        moves[member] = score

    def remove(self, ranking: bytes, limit: int) -> int:
        """Take out the first `limit` members; return how many there were."""
        order = prefix_of(ORDER, self._shard, ranking)
        first = [key for key, _ in islice(walk(self._transaction, order), limit)]
        for key in first:
            self.apply(Rank(ranking, key[NUMBER.size :], None))
        self.flush()
        for key in first:
            self._transaction.delete(order + key)  # those without a score of their own
        return len(first)

    def flush(self) -> None:
        """Write what was applied, in order of keys: at thousands a batch, a third faster than as they come."""
        for ranking, moves in self._moves.items():
            grown = self._move(ranking, moves)
            if grown:
                at, size = prefix_of(SIZE, self._shard, ranking), self.size(ranking) + grown
                if size > 0:
                    self._transaction.put(at, wrapped(NUMBER.pack(size)))
                else:
                    self._transaction.delete(at)
        self._moves.clear()

    def _move(self, ranking: bytes, moves: dict[bytes, int | None]) -> int:
        transaction = self._transaction
        rank, order = (prefix_of(kind, self._shard, ranking) for kind in (RANK, ORDER))
        left: list[bytes] = []
        taken: list[bytes] = []
        grown = 0
        for member in sorted(moves):
            old, new = self.score(ranking, member), moves[member]
            if old == new:
                continue
            grown += (new is not None) - (old is not None)
            if old is not None:
                left.append(order + NUMBER.pack(old) + member)
            if new is None:
                transaction.delete(rank + member)
            else:
                packed = NUMBER.pack(new)
                taken.append(order + packed + member)
                transaction.put(rank + member, wrapped(packed))
        for place in sorted(left):
            transaction.delete(place)
        for place in sorted(taken):
            transaction.put(place, b"")
        return grown

    def score(self, ranking: bytes, member: bytes) -> int | None:
        """Return a member's score."""
        at = prefix_of(RANK, self._shard, ranking) + member
        return _number(at, get(self._transaction, at))

    def first(
        self, ranking: bytes, limit: int, least: int, most: int, after: tuple[bytes, int] | None
    ) -> list[tuple[bytes, int]]:
        """Return the first members with scores from `least` to `most`, and behind `after`."""
        found: list[tuple[bytes, int]] = []
        passed = NUMBER.pack(after[1]) + after[0] if after is not None else b""
        for key, _ in walk(self._transaction, prefix_of(ORDER, self._shard, ranking), max(NUMBER.pack(least), passed)):
            (score,), member = NUMBER.unpack_from(key), key[NUMBER.size :]
            if score > most or len(found) == limit:
                break
            if key != passed and self.score(ranking, member) == score:
                found.append((member, score))
        return found

    def size(self, ranking: bytes) -> int:
        """Return how many members there are."""
        at = prefix_of(SIZE, self._shard, ranking)
        return _number(at, get(self._transaction, at)) or 0


def _number(key: bytes, stored: bytes | None) -> int | None:
    value = unwrapped(key, stored)
    return int(NUMBER.unpack(value)[0]) if value is not None and len(value) == NUMBER.size else None
