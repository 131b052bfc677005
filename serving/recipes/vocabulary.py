"""Vocabularies: from the hashes of strings to row numbers, for whole batches at a time. Pure."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from serving.recipes.scalars import hash_of

Hashes = NDArray[np.uint64]
Rows = NDArray[np.int64]
_SMALL = 1 << 15


class Vocabulary:
    """An open-addressing table in two arrays; the row of a word is its place in the list.

    Hashes are the eight bytes in memory order, whatever number that makes on this machine: nothing is ever swapped.
    """

    def __init__(self, words: Sequence[str]) -> None:
        hashes = hashes_of(words)
        # Emptier means fewer looks at next places, as long as it fits the processor's caches.
        room = 16 if len(words) <= _SMALL else 4
        size = 1 << max(3, (room * len(words) - 1).bit_length())
        self._last = size - 1
        self._mask = np.uint64(size - 1)
        self._keys = np.zeros(size, np.uint64)
        self._table = np.full(size, -1, np.int64)
        self._fill(hashes)

    def rows(self, hashes: Hashes) -> Rows:
        """Return the row of each hash; -1 for one that is unknown."""
        slots = self._first(hashes)
        rows = self._table.take(slots)
        (missed,) = ((self._keys.take(slots) != hashes) & (rows >= 0)).nonzero()
        slots = slots[missed]
        while missed.size:
            # Another word sits there: look at the next place, until it is found or a place is empty.
            slots = (slots + 1) & self._last
            found = self._table.take(slots)
            rows[missed] = found
            wrong = (self._keys.take(slots) != hashes[missed]) & (found >= 0)
            missed, slots = missed[wrong], slots[wrong]
        # An empty place has the key 0, and no row: a hash of 0 is unknown by itself.
        return rows

    def rows_of(self, words: Sequence[str]) -> Rows:
        """Return the row of each word; -1 for one that is unknown."""
        return self.rows(hashes_of(words))

    def _first(self, hashes: Hashes) -> Rows:
        # numpy takes places that are signed without converting them.
        return (hashes & self._mask).view(np.int64)

    def _fill(self, hashes: Hashes) -> None:
        rows = np.arange(len(hashes))
        slots = self._first(hashes)
        while rows.size:
            # Of those that want a free place, the first gets it; the others go on to the next.
            free = np.flatnonzero(self._table[slots] < 0)
            _, first = np.unique(slots[free], return_index=True)
            placed = free[first]
            self._keys[slots[placed]] = hashes[rows[placed]]
            self._table[slots[placed]] = rows[placed]
            left = np.ones(rows.size, np.bool_)
            left[placed] = False
            rows, slots = rows[left], (slots[left] + 1) & self._last


def hashes_of(words: Sequence[str]) -> Hashes:
    """Return the hashes as the table and the documents have them."""
    return np.frombuffer(b"".join(map(hash_of, words)), np.uint64)
