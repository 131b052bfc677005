"""Tracks of an entity's newest values, and of the time of its newest event. Pure.

A record is 24 bytes: time and id, which order it, and the value's hash or number. Big-endian, so that the order of
bytes is the order of events: an event in order is an append, and the records of many entities are one array.
"""

from bisect import bisect_left
from collections.abc import Sequence
from struct import Struct

import msgpack
from xxhash import xxh3_64_digest

from serving.recipes.event import Event
from serving.recipes.scalars import Scalar, hash_of, number_of, text_of

STAMP = 16
"""Bytes of time and id, which an event has in front of its value."""
RECORD = 24

Stamped = tuple[bytes, Event]

_number = Struct(">d").pack
_time = Struct(">Q").pack


def value_hash(value: Scalar) -> bytes | None:
    """Return the eight bytes of a record for a text; None for none."""
    if type(value) is str and 0 < len(value) <= 64:  # noqa: PLR2004 - the usual case without another call
        return xxh3_64_digest(value.encode())
    text = text_of(value)
    return None if text is None else hash_of(text)


def value_number(value: Scalar) -> bytes | None:
    """Return the eight bytes of a record for a number; None for what is none."""
    number = number_of(value)
    return None if number is None else _number(number)


class Newest:
    """Fixed records of the `keep` newest values of a field."""

    def __init__(self, field: str, types: Sequence[str], keep: int, *, numbers: bool) -> None:
        self._field = field
        self._types = frozenset(types)
        self._most = keep * RECORD
        self._value = value_number if numbers else value_hash

    def fold(self, blob: bytes, events: Sequence[Stamped], _newest_ms: int) -> bytes:
        """Return the records with the events' among them."""
        types, field, to_bytes = self._types, self._field, self._value
        for stamp, event in events:
            if types and event.type not in types:
                continue
            value = to_bytes(event.fields.get(field))
            if value is None:
                continue
            if stamp > blob[-RECORD : -RECORD + STAMP]:
                record = stamp + value
                blob = blob[RECORD:] + record if len(blob) >= self._most else blob + record
            else:
                blob = self._insert(blob, stamp, value)
        # A document may hold more than its tracks say only after another release wrote it.
        return blob[-self._most :] if len(blob) > self._most else blob

    def _insert(self, blob: bytes, stamp: bytes, value: bytes) -> bytes:
        at = (
            bisect_left(range(len(blob) // RECORD), stamp, key=lambda i: blob[i * RECORD : i * RECORD + STAMP]) * RECORD
        )
        if blob[at : at + STAMP] == stamp:
            return blob
        return (blob[:at] + stamp + value + blob[at:])[-self._most :]


class NewestTexts:
    """The `keep` newest texts of a field, as msgpack columns: stamps, texts. For what no vocabulary looks up."""

    def __init__(self, field: str, types: Sequence[str], keep: int) -> None:
        self._field = field
        self._types = frozenset(types)
        self._keep = keep

    def fold(self, blob: bytes, events: Sequence[Stamped], _newest_ms: int) -> bytes:
        """Return the texts with the events' among them."""
        known = dict(read_texts(blob))
        before = len(known)
        for stamp, event in events:
            # A number is no text here, as a text is no number there: training has a column of one kind, too.
            value = event.fields.get(self._field)
            if isinstance(value, str) and text_of(value) and (not self._types or event.type in self._types):
                known.setdefault(stamp, value)
        if len(known) == before:
            return blob
        newest = sorted(known.items())[-self._keep :]
        packed: bytes = msgpack.packb([b"".join(stamp for stamp, _ in newest), [text for _, text in newest]])
        return packed


def read_texts(blob: bytes) -> list[tuple[bytes, str]]:
    """Return stamps and texts, oldest first."""
    if not blob:
        return []
    stamps, texts = msgpack.unpackb(blob)
    return [(stamps[i * STAMP : (i + 1) * STAMP], text) for i, text in enumerate(texts)]


class NewestTime:
    """The time of the newest event of some types: eight bytes."""

    def __init__(self, types: Sequence[str]) -> None:
        self._types = frozenset(types)

    def fold(self, blob: bytes, events: Sequence[Stamped], newest_ms: int) -> bytes:
        """Return the newest of it and the events'."""
        if not self._types:
            return _time(newest_ms)
        return max([blob, *(stamp[:8] for stamp, event in events if event.type in self._types)])
