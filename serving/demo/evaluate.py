"""How good recommendations are, whoever made them: cases to predict, and one measure over answers. Pure.

Two questions about the last month of a stream (`Purchases.month`):
- **month**: asked once per entity, from all that it bought before: which products does it buy in the month?
- **next event**: asked at each purchase of the month, from all that the entity bought before it, the month's own
  purchases included as they stream in: what is it? This is what near-line is for.

Conventions. Products that training did not see count neither as history nor as something to predict; entities
without history are not asked about. In `next event` a basket's products precede each other in the stream's order, and
a repeated row counts again.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.demo.purchases import Purchases


@dataclass(frozen=True, slots=True)
class Case:
    """To be predicted: `items`, which an entity bought, from its purchases before `row` of the stream."""

    entity_id: str
    row: int
    items: frozenset[str]


def month_cases(purchases: Purchases, cutoff: int, known: Iterable[str]) -> list[Case]:
    """Return a case for each entity that bought known products both before the cutoff (in ms) and after it."""
    first = int(np.searchsorted(purchases.ts, cutoff))
    rows = np.flatnonzero(_known(purchases, known))
    seen = np.zeros(len(purchases.entity_ids), np.bool_)
    seen[purchases.entities[rows[rows < first]]] = True
    bought: dict[int, set[str]] = {}
    for row in rows[rows >= first]:
        if seen[entity := int(purchases.entities[row])]:
            bought.setdefault(entity, set()).add(purchases.item_ids[purchases.items[row]])
    return [Case(purchases.entity_ids[entity], first, frozenset(items)) for entity, items in sorted(bought.items())]


def next_cases(purchases: Purchases, cutoff: int, known: Iterable[str]) -> list[Case]:
    """Return a case for each purchase of a known product since the cutoff (in ms), in the stream's order."""
    rows = np.flatnonzero(_known(purchases, known))
    _, first_of_entity = np.unique(purchases.entities[rows], return_index=True)
    asked = np.delete(rows, first_of_entity)
    asked = asked[purchases.ts[asked] >= cutoff]
    return [
        Case(
            purchases.entity_ids[purchases.entities[row]],
            int(row),
            frozenset((purchases.item_ids[purchases.items[row]],)),
        )
        for row in asked
    ]


def recall(cases: Sequence[Case], answers: Iterable[Sequence[str]], k: int = 20) -> float:
    """Return the mean over cases of: products found among the answer's first `k`, divided by min(k, their number).

    One answer (ids of products, best first) per case, in the same order; ValueError when there are more or fewer.
    An empty answer finds nothing. nan without cases.
    """
    shares = [
        len(case.items.intersection(answer[:k])) / min(k, len(case.items))
        for case, answer in zip(cases, answers, strict=True)
    ]
    return float(np.mean(shares)) if shares else float("nan")


def _known(purchases: Purchases, known: Iterable[str]) -> NDArray[np.bool_]:
    """Tell for each purchase whether training saw the product."""
    names = frozenset(known)
    by_item = np.array([item in names for item in purchases.item_ids], np.bool_)
    return by_item[purchases.items]
