"""The documents of a batch as arrays, read once for all features that share a track. Pure."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from serving.recipes.newest import RECORD
from serving.recipes.scalars import Scalar
from serving.recipes.state import FORMAT, decode_spec
from serving.recipes.tracks import Key

Requests = Sequence[Mapping[str, Scalar]]
_HEAD = 4
"""What a document has before its blobs."""
_NOTHING = (FORMAT, msgpack.packb([]), -1, b"")
_unpack = msgpack.unpackb


class Batch:
    """Entities in a row."""

    def __init__(
        self,
        documents: Sequence[bytes | None],
        instants: Sequence[int] | NDArray[np.int64],
        requests: Requests | None = None,
    ) -> None:
        found: list[Any] = [_NOTHING if document is None else _unpack(document) for document in documents]
        self.size = len(found)
        self.requests = requests
        self._documents = found
        self._specs = {document[1] for document in found}
        for document in found:
            if document[0] != FORMAT:
                raise ValueError(f"document: expected format {FORMAT}, got {document[0]}")
        self._instants = instants
        self._later: NDArray[np.int64] | None = None
        self._records: dict[tuple[Key, int], tuple[NDArray[np.int64], NDArray[Any]]] = {}

    @property
    def instants(self) -> NDArray[np.int64]:
        """Int64 milliseconds, each later than the entity's newest event. Made when a feature looks at it: few do."""
        if self._later is None:
            newest = np.fromiter((document[2] for document in self._documents), np.int64, self.size)
            # Clocks differ: what is known to have happened is before now.
            self._later = np.maximum(np.asarray(self._instants, np.int64), newest + 1)
        return self._later

    def blobs(self, key: Key) -> list[bytes]:
        """Return the blob of a track by entity; empty where the document has none."""
        places = {spec: _places(spec).get(key) for spec in self._specs}
        if len(places) == 1:
            (place,) = places.values()
            return [b""] * self.size if place is None else [document[place] for document in self._documents]
        return [b"" if (place := places[document[1]]) is None else document[place] for document in self._documents]

    def newest(self, key: Key, n: int) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
        """Return how many values each entity has, at most n, and all of them in a row, oldest first."""
        return newest_values(self.blobs(key), n)

    def records(self, key: Key, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return which entity each record is of, and the records in words, int64 [records, size // 8]."""
        known = self._records.get((key, size))
        if known is None:
            blobs = self.blobs(key)
            counts = np.fromiter(map(len, blobs), np.int64, self.size) // size
            words = np.frombuffer(b"".join(blobs), ">i8").reshape(-1, size // 8)
            known = self._records[key, size] = (np.repeat(np.arange(self.size), counts), words.astype(np.int64))
        return known


def newest_values(blobs: Sequence[bytes], n: int) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Return how many of the n newest values each blob has, and all of them in a row, as they lie in memory."""
    most = n * RECORD
    tails = [blob[-most:] for blob in blobs]
    counts = np.fromiter(map(len, tails), np.int64, len(tails)) // RECORD
    return counts, np.frombuffer(b"".join(tails), np.uint64).reshape(-1, 3)[:, 2].copy()


@lru_cache(maxsize=1000)
def _places(spec: bytes) -> Mapping[Key, int]:
    return {track.key: _HEAD + at for at, track in enumerate(decode_spec(spec))}
