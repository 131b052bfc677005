"""Tracks over windows: aggregates by bucket of event time, oldest first. Pure.

Buckets that no instant after the entity's newest event can need are dropped, so that a document does not grow, and
does not depend on the order in which events came. Only floating sums do, in their last bits.
"""

from bisect import bisect_left
from collections.abc import Sequence
from struct import Struct

from serving.recipes.newest import Stamped, value_hash
from serving.recipes.scalars import number_of

COUNT = Struct(">qq")
"""Bucket, events."""
SUM = Struct(">qqdd")
"""Bucket, numbers, their sum, the largest."""
DISTINCT = Struct(">q8s")
"""Newest bucket of a value, its hash."""


class _Buckets:
    """What the tracks over windows share."""

    def __init__(self, types: Sequence[str], width_ms: int, keep: int) -> None:
        self._types = frozenset(types)
        self._width = width_ms
        self._keep = keep

    def _oldest(self, newest_ms: int) -> int:
        return newest_ms // self._width - self._keep + 1


def _kept(blob: bytes, oldest: int, size: int) -> bytes:
    """Drop records of buckets before `oldest`."""
    if not blob or int.from_bytes(blob[:8]) >= oldest:
        return blob
    return blob[_place(blob, oldest, size) :]


def _place(blob: bytes, bucket: int, size: int) -> int:
    """Return where the first record of this bucket or a later one begins."""
    prefix = bucket.to_bytes(8)
    return bisect_left(range(len(blob) // size), prefix, key=lambda i: blob[i * size : i * size + 8]) * size


class Counts(_Buckets):
    """How many events."""

    def fold(self, blob: bytes, events: Sequence[Stamped], newest_ms: int) -> bytes:
        """Return the buckets with the events in them."""
        oldest = self._oldest(newest_ms)
        for _, event in events:
            bucket = event.ts_ms // self._width
            if bucket < oldest or (self._types and event.type not in self._types):
                continue
            at = len(blob) - COUNT.size
            last, count = COUNT.unpack_from(blob, at) if blob else (-1, 0)
            if bucket == last:
                blob = blob[:at] + COUNT.pack(bucket, count + 1)
            elif bucket > last:
                blob += COUNT.pack(bucket, 1)
            else:
                blob = self._insert(blob, bucket)
        return _kept(blob, oldest, COUNT.size)

    def _insert(self, blob: bytes, bucket: int) -> bytes:
        at = _place(blob, bucket, COUNT.size)
        found, count = COUNT.unpack_from(blob, at)
        if found == bucket:
            return blob[:at] + COUNT.pack(bucket, count + 1) + blob[at + COUNT.size :]
        return blob[:at] + COUNT.pack(bucket, 1) + blob[at:]


class Sums(_Buckets):
    """Count, sum and maximum of a field's numbers."""

    def __init__(self, field: str, types: Sequence[str], width_ms: int, keep: int) -> None:
        super().__init__(types, width_ms, keep)
        self._field = field

    def fold(self, blob: bytes, events: Sequence[Stamped], newest_ms: int) -> bytes:
        """Return the buckets with the events' numbers in them."""
        oldest = self._oldest(newest_ms)
        for _, event in events:
            bucket = event.ts_ms // self._width
            if bucket < oldest or (self._types and event.type not in self._types):
                continue
            number = number_of(event.fields.get(self._field))
            if number is None:
                continue
            at = len(blob) - SUM.size
            last = int.from_bytes(blob[at : at + 8]) if blob else -1
            if bucket > last:
                blob += SUM.pack(bucket, 1, number, number)
            else:
                blob = self._add(blob, at if bucket == last else _place(blob, bucket, SUM.size), bucket, number)
        return _kept(blob, oldest, SUM.size)

    def _add(self, blob: bytes, at: int, bucket: int, number: float) -> bytes:
        found, count, total, most = SUM.unpack_from(blob, at)
        if found == bucket:
            record = SUM.pack(bucket, count + 1, total + number, max(most, number))
            return blob[:at] + record + blob[at + SUM.size :]
        return blob[:at] + SUM.pack(bucket, 1, number, number) + blob[at:]


class DistinctValues(_Buckets):
    """The newest bucket of each value; the newest `limit` of them, by bucket and hash."""

    def __init__(self, field: str, types: Sequence[str], width_ms: int, keep: int, limit: int) -> None:
        super().__init__(types, width_ms, keep)
        self._field = field
        self._most = limit * DISTINCT.size

    def fold(self, blob: bytes, events: Sequence[Stamped], newest_ms: int) -> bytes:
        """Return the values with the events' among them."""
        oldest = self._oldest(newest_ms)
        for _, event in events:
            bucket = event.ts_ms // self._width
            if bucket < oldest or (self._types and event.type not in self._types):
                continue
            value = value_hash(event.fields.get(self._field))
            if value is not None:
                blob = self._put(blob, bucket, value)
        return _kept(blob, oldest, DISTINCT.size)

    def _put(self, blob: bytes, bucket: int, value: bytes) -> bytes:
        size = DISTINCT.size
        at = find(blob, value, size, 8)
        if at >= 0:
            if int.from_bytes(blob[at : at + 8]) >= bucket:
                return blob
            blob = blob[:at] + blob[at + size :]
        record = DISTINCT.pack(bucket, value)
        if record > blob[-size:]:
            return (blob + record)[-self._most :]
        at = bisect_left(range(len(blob) // size), record, key=lambda i: blob[i * size : (i + 1) * size]) * size
        return (blob[:at] + record + blob[at:])[-self._most :]


def find(blob: bytes, part: bytes, size: int, offset: int) -> int:
    """Return where the record begins that has `part` at `offset`; -1 for none."""
    at = blob.find(part)
    while at >= 0 and at % size != offset:
        at = blob.find(part, at + 1)
    return at - offset if at >= 0 else -1
