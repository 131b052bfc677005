"""What near-line benchmarks run: a shop of 4,000 items, a model that looks at the last 50, and events of its customers.

Seeded. Entities by Zipf's law with exponent 0.99; 0.5 % of the events come twice, 1 % late, and 2 % from entities that
were never seen before.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from benchmarks.shop_graph import to_onnx
from serving.recipes.event import encode_event

ITEMS = 4_000
HISTORY = 50
K = 20
NEIGHBOURS = 20
ENTITIES = 100_000
_SKEW = 0.99
_TWICE, _LATE, _NEW = 0.005, 0.01, 0.02
_LATE_MS = 60_000


def items() -> list[str]:
    """Ids by row."""
    return [f"item-{row:05d}" for row in range(ITEMS)]


def model(seed: int = 0, offset: float = 0.0) -> onnx.ModelProto:
    """An item-to-item model: `history` INT64 [batch, 50] -> `items`, `scores` [batch, 20], all with `offset`."""
    random = np.random.default_rng(seed)
    rows = np.stack([random.permutation(ITEMS)[:NEIGHBOURS] for _ in range(ITEMS)]).astype(np.int32)
    rows[:, 0] = np.arange(ITEMS)
    similarity = -np.sort(-random.random((ITEMS, NEIGHBOURS)).astype(np.float32), axis=1)
    return to_onnx(rows, similarity, HISTORY, K, offset)


@dataclass(frozen=True, slots=True)
class Events:
    """A stream of so many, of so many entities, from `start_ms` on, a millisecond each."""

    count: int
    entities: int = ENTITIES
    seed: int = 0
    start_ms: int = 1_700_000_000_000

    def records(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield keys and values, in order."""
        random = np.random.default_rng(self.seed)
        who = self._who(random).tolist()
        what = (random.zipf(1.3, self.count) % ITEMS).tolist()
        chance = random.random(self.count).tolist()
        last = None
        for at in range(self.count):
            if chance[at] < _TWICE and last is not None:
                yield last
                continue
            late = _LATE_MS if chance[at] < _TWICE + _LATE else 0
            last = encode_event(
                f"customer-{who[at]}",
                {"item": f"item-{what[at]:05d}"},
                kind="purchase",
                ts_ms=self.start_ms + at - late,
                event_id=f"{self.seed}-{at}",
            )
            yield last

    def _who(self, random: np.random.Generator) -> NDArray[np.int64]:
        weights = 1.0 / np.arange(1, self.entities + 1) ** _SKEW
        who = random.choice(self.entities, self.count, p=weights / weights.sum())
        new = random.random(self.count) < _NEW
        who[new] = self.entities + np.arange(int(new.sum()))
        return who
