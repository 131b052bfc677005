"""The state behind `last_n`: an entity's newest values of one event field. Pure.

Events are ordered by (time, id), so that every order of delivery ends in the same state; an id that is already in
the history has no effect again. Stored as msgpack columns: times, ids (8 bytes each), values.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgpack
import numpy as np
from numpy.typing import NDArray

from serving.recipes.event import Event
from serving.recipes.recipe import LastN

KEPT = 100
"""Values kept at least, so that a model with a longer history finds one when it is deployed."""


MAX_ITEM_CHARACTERS = 256

STATES = b"s"
"""The store's space of entity states."""


def state_key(feature: LastN, entity: bytes) -> bytes:
    """Key of the state in the store: features over the same field share it."""
    return b"last/" + feature.field.encode() + b"\0" + entity


@dataclass(slots=True)
class History:
    """Sorted by (time, id), oldest first; at most `kept` values."""

    entries: list[tuple[int, bytes, str]] = field(default_factory=list)

    def fold(self, events: Iterable[Event], feature: LastN, kept: int) -> bool:
        """Add the events that have the field; tell whether anything changed."""
        known = {entry[1] for entry in self.entries}
        new = []
        for event in events:
            value = event.fields.get(feature.field)
            text = "" if value is None else str(value)
            # What is longer than an item's id can be none, and must not fill the store.
            if 0 < len(text) <= MAX_ITEM_CHARACTERS and event.id not in known:
                known.add(event.id)
                new.append((event.ts_ms, event.id, text))
        if not new:
            return False
        before = self.entries
        self.entries = sorted([*before, *new])[-kept:]
        return self.entries != before

    @property
    def values(self) -> list[str]:
        """Oldest first."""
        return [entry[2] for entry in self.entries]

    def encode(self) -> bytes:
        """Return what is stored."""
        columns = list(zip(*self.entries, strict=True)) or [(), (), ()]
        packed: bytes = msgpack.packb([columns[0], b"".join(columns[1]), columns[2]])
        return packed

    @classmethod
    def decode(cls, data: bytes | None) -> "History":
        """Read back what `encode` wrote; an empty history for None."""
        if data is None:
            return cls()
        times, ids, values = msgpack.unpackb(data)
        split = (ids[i : i + 8] for i in range(0, len(ids), 8))
        return cls(list(zip(times, split, values, strict=True)))


def last_n(feature: LastN, histories: Sequence[History], rows: Mapping[str, int]) -> NDArray[np.int64]:
    """Return the model's input, int64 [len(histories), n]: rows of the catalogue, oldest first, padded on the left."""
    out = np.full((len(histories), feature.n), feature.pad, np.int64)
    for line, history in zip(out, histories, strict=True):
        found = [row for value in history.values if (row := rows.get(value)) is not None][-feature.n :]
        if found:
            line[-len(found) :] = found
    return out
