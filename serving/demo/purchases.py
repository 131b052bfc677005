"""Who bought what, when, as columns: what the demo trains on, replays and evaluates with. Pure.

The order is that of the stream: by time, and within one time as the source had it. A part (`before`, `since`, `take`)
keeps the numbering of entities and items, so that codes of parts compare.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

DAY_MS = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True, eq=False)
class Purchases:
    """One row per purchase.

    `entities` and `items` (int32) are positions in `entity_ids` and `item_ids`; `ts` (int64) is milliseconds since
    the epoch, ascending. Times without a zone are read as UTC. Rows that repeat each other stay: streams have them.
    """

    entity_ids: Sequence[str]
    item_ids: Sequence[str]
    entities: NDArray[np.int32]
    items: NDArray[np.int32]
    ts: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        entity_ids: Sequence[str],
        item_ids: Sequence[str],
        entities: NDArray[np.integer],
        items: NDArray[np.integer],
        ts: NDArray[np.integer],
    ) -> "Purchases":
        """Make from rows in any order."""
        order = np.argsort(ts, kind="stable")
        return cls(
            entity_ids,
            item_ids,
            entities[order].astype(np.int32),
            items[order].astype(np.int32),
            ts[order].astype(np.int64),
        )

    def __len__(self) -> int:
        return len(self.ts)

    def take(self, rows: NDArray[np.bool_] | NDArray[np.integer] | slice) -> "Purchases":
        """Return some rows, which must be in the stream's order."""
        return replace(self, entities=self.entities[rows], items=self.items[rows], ts=self.ts[rows])

    def before(self, ts: int) -> "Purchases":
        """Return the purchases before a time."""
        return self.take(slice(0, self._first(ts)))

    def since(self, ts: int) -> "Purchases":
        """Return the purchases at a time and after it."""
        return self.take(slice(self._first(ts), len(self)))

    def _first(self, ts: int) -> int:
        return int(np.searchsorted(self.ts, ts))

    def month(self) -> int:
        """Return the midnight (UTC) that the last 30 days begin with: where training ends, and evaluation starts."""
        return int(self.ts[-1] - 30 * DAY_MS) // DAY_MS * DAY_MS

    def by_entity(self) -> "Purchases":
        """Return the rows grouped by entity, each entity's in the stream's order."""
        return self.take(np.argsort(self.entities, kind="stable"))

    def event_times(self) -> NDArray[np.int64]:
        """Return times that grow with every purchase of an entity, by as few milliseconds as it takes.

        Shops stamp a whole basket with one minute. Histories order by (time, event id), where ids are hashes: with
        the shop's times alone a basket would come out shuffled, and differently from what offline evaluation sees.
        """
        order = np.argsort(self.entities, kind="stable")
        place = np.arange(len(order))
        starts = np.flatnonzero(np.diff(self.entities[order], prepend=-1))
        times = np.empty_like(self.ts)
        for start, end in zip(starts, np.append(starts[1:], len(order)), strict=True):
            rows = order[start:end]
            times[rows] = np.maximum.accumulate(self.ts[rows] - place[: end - start]) + place[: end - start]
        return times

    @property
    def period(self) -> tuple[datetime, datetime]:
        """First and last time."""
        first, last = (datetime.fromtimestamp(int(ts) / 1000, UTC) for ts in (self.ts[0], self.ts[-1]))
        return first, last
