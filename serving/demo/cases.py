"""What is asked of a recommender over the last month of a stream, and what the answer should have been. Pure.

- **month**: asked once per entity, from all that it bought before the month: which products does it buy in it?
- **next event**: asked at each purchase of the month, from all that the entity bought before it, the month's own
  purchases included as they stream in: what is it? This is what near-line is for.

Products that training did not see count neither as history nor as something to predict; entities without history are
not asked about. In `next event` a basket's products precede each other in the stream's order, and a repeated row
counts again.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.demo.purchases import Purchases

SAMPLED_EVENTS = 3000


@dataclass(frozen=True, slots=True)
class Case:
    """To be predicted: `items`, which an entity bought, from its purchases before `row` of the stream."""

    entity_id: str
    row: int
    items: frozenset[str]


def month_cases(purchases: Purchases, known: Iterable[str]) -> list[Case]:
    """Return a case for each entity that bought `known` products both before the cutoff and after it."""
    first = purchases.first_held_out
    rows = np.flatnonzero(_is_known(purchases, known))
    seen = np.zeros(len(purchases.entity_ids), np.bool_)
    seen[purchases.entities[rows[rows < first]]] = True
    bought: dict[int, set[str]] = {}
    for row in rows[rows >= first]:
        if seen[entity := int(purchases.entities[row])]:
            bought.setdefault(entity, set()).add(purchases.item_ids[purchases.items[row]])
    return [Case(purchases.entity_ids[entity], first, frozenset(items)) for entity, items in sorted(bought.items())]


def next_cases(purchases: Purchases, known: Iterable[str]) -> list[Case]:
    """Return a case for each purchase of a `known` product since the cutoff, in the stream's order."""
    rows = np.flatnonzero(_is_known(purchases, known))
    _, first_of_entity = np.unique(purchases.entities[rows], return_index=True)
    asked = np.delete(rows, first_of_entity)
    return [
        Case(
            purchases.entity_ids[purchases.entities[row]],
            int(row),
            frozenset((purchases.item_ids[purchases.items[row]],)),
        )
        for row in asked[asked >= purchases.first_held_out].tolist()
    ]


def sample_entities(cases: Sequence[Case], seed: int, at_least: int = SAMPLED_EVENTS) -> list[Case]:
    """Return all cases of as many entities, drawn by chance, as give `at_least` cases; in the order of `cases`.

    Whole entities, because a purchase can be predicted only by replaying the ones before it.
    """
    of_entity: dict[str, int] = {}
    for case in cases:
        of_entity[case.entity_id] = of_entity.get(case.entity_id, 0) + 1
    names = sorted(of_entity)
    chosen: set[str] = set()
    count = 0
    for place in np.random.default_rng(seed).permutation(len(names)).tolist():
        if count >= at_least:
            break
        chosen.add(names[place])
        count += of_entity[names[place]]
    return [case for case in cases if case.entity_id in chosen]


def products_before(purchases: Purchases, cases: Sequence[Case], known: Iterable[str]) -> list[tuple[Case, str]]:
    """Return the cases of `next_cases` that another purchase precedes in their order, and what that was.

    An order is what an entity bought at one time. Left out where training did not see the product before.
    """
    names = frozenset(known)
    before = np.full(len(purchases), -1)
    order = np.argsort(purchases.entities, kind="stable")
    same = np.diff(purchases.entities[order]) == 0
    same &= np.diff(purchases.ts[order]) == 0
    before[order[1:][same]] = order[:-1][same]
    found = []
    for case in cases:
        row = int(before[case.row])
        if row >= 0 and (item := purchases.item_ids[purchases.items[row]]) in names:
            found.append((case, item))
    return found


def _is_known(purchases: Purchases, known: Iterable[str]) -> NDArray[np.bool_]:
    """Tell for each purchase whether training saw the product."""
    names = frozenset(known)
    by_item = np.array([item in names for item in purchases.item_ids], np.bool_)
    return by_item[purchases.items]
