"""Who bought what, when, as columns: what the demo trains on, replays and evaluates with. Pure.

The order is that of the stream: by time, and within one time as the source had it. A part (`training`, `held_out`)
keeps the numbering of entities and items, so that codes of parts compare.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

DAY_MS = 24 * 3600 * 1000
HELD_OUT_DAYS = 30
SHORT_DAYS = 90
"""A stream shorter than this cannot spare a month for evaluation: it holds out its last tenth."""


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

    @property
    def cutoff(self) -> int:
        """Where training ends and evaluation starts, in ms: the midnight (UTC) that the last month begins with."""
        first, last = int(self.ts[0]), int(self.ts[-1])
        if last - first < SHORT_DAYS * DAY_MS:
            return int(self.ts[len(self) * 9 // 10])
        return (last - HELD_OUT_DAYS * DAY_MS) // DAY_MS * DAY_MS

    @property
    def first_held_out(self) -> int:
        """The first row at or after the cutoff."""
        return int(np.searchsorted(self.ts, self.cutoff))

    @property
    def training(self) -> "Purchases":
        """The purchases before the cutoff."""
        return self._part(slice(0, self.first_held_out))

    @property
    def held_out(self) -> "Purchases":
        """The purchases since the cutoff: "the month"."""
        return self._part(slice(self.first_held_out, len(self)))

    def _part(self, rows: slice) -> "Purchases":
        return replace(self, entities=self.entities[rows], items=self.items[rows], ts=self.ts[rows])

    @property
    def period(self) -> tuple[datetime, datetime]:
        """First and last time."""
        first, last = (datetime.fromtimestamp(int(ts) / 1000, UTC) for ts in (self.ts[0], self.ts[-1]))
        return first, last

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
