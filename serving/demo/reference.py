"""What the trained model answers when numpy computes it offline: what served answers are compared with. Pure.

Written apart from serving/recipes, so that it says whether the recipe computes what it should.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.demo.cases import Case
from serving.demo.neighbours import TIE, Neighbours
from serving.demo.purchases import Purchases
from serving.demo.recipe import FRESH, LOOKED_AT, WINDOW

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Given:
    """The model's inputs, a row for each case: history [cases, n], the others [cases]."""

    history: Ints
    purchases_30d: Ints
    viewing: Ints


def given(
    purchases: Purchases,
    items: Sequence[str],
    cases: Sequence[Case],
    history: int,
    *,
    now_ms: int | None = None,
    viewing: Sequence[str] | None = None,
) -> Given:
    """Return the inputs of each case, as of just after the entity's newest purchase, or as of `now_ms`.

    The former is what near-line computes with, the latter what online does. `viewing`: the product that each looks at.
    """
    row_of = {item: row for row, item in enumerate(items)}
    looked_at = np.array([row_of.get(item, -1) for item in viewing or ()], np.int64)
    return Given(
        _histories(purchases, row_of, cases, history),
        _counts(purchases, cases, now_ms),
        looked_at if viewing is not None else np.full(len(cases), -1),
    )


def recommend(neighbours: Neighbours, given: Given, k: int) -> tuple[Ints, NDArray[np.float32]]:
    """Answer each case: rows and scores, both [cases, k], best first."""
    size, (count, history) = len(neighbours.items), given.history.shape
    items = np.empty((count, k), np.int64)
    scores = np.empty((count, k), np.float32)
    handicap = np.arange(size) * TIE
    place = history - np.arange(history)
    rows = np.column_stack([given.history, given.viewing])
    bought = np.where(place <= given.purchases_30d[:, None], FRESH, 1)
    weights = np.column_stack([bought, np.full(count, LOOKED_AT)])
    for line in range(count):
        held = rows[line] >= 0
        near = neighbours.rows[rows[line][held]].ravel()
        weighed = (neighbours.similarity[rows[line][held]] * weights[line][held, None]).ravel()
        sums = np.bincount(near, weights=weighed, minlength=size)
        distinct = handicap - sums
        best = np.argpartition(distinct, k - 1)[:k]
        items[line] = best[np.argsort(distinct[best])]
        scores[line] = sums[items[line]]
    return items, scores


def _histories(purchases: Purchases, row_of: dict[str, int], cases: Sequence[Case], history: int) -> Ints:
    """The last purchases of products that are known, padded on the left with -1."""
    rows = np.array([row_of.get(item, -1) for item in purchases.item_ids], np.int64)[purchases.items]
    out = np.full((len(cases), history), -1, np.int64)
    for line, before in zip(out, _before(purchases, cases, np.flatnonzero(rows >= 0)), strict=True):
        last = before[-history:]
        line[history - len(last) :] = rows[last]
    return out


def _counts(purchases: Purchases, cases: Sequence[Case], now_ms: int | None) -> Ints:
    """Purchases in the window, those of products that nobody knew among them."""
    bucket = purchases.event_times() // WINDOW.width_ms
    out = np.zeros(len(cases), np.int64)
    for at, before in enumerate(_before(purchases, cases, np.arange(len(purchases)))):
        if len(before):
            newest = int(bucket[before[-1]])
            last = newest if now_ms is None else max(newest, (now_ms - 1) // WINDOW.width_ms)
            out[at] = np.count_nonzero(bucket[before] > last - WINDOW.buckets)
    return out


def _before(purchases: Purchases, cases: Sequence[Case], rows: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Those of `rows` that each case's entity did before it."""
    rows = rows[np.argsort(purchases.entities[rows], kind="stable")]
    starts = np.searchsorted(purchases.entities[rows], np.arange(len(purchases.entity_ids) + 1))
    entity_of = {entity_id: entity for entity, entity_id in enumerate(purchases.entity_ids)}
    found = []
    for case in cases:
        entity = entity_of[case.entity_id]
        mine = rows[starts[entity] : starts[entity + 1]]
        found.append(mine[: np.searchsorted(mine, case.row)])
    return found
