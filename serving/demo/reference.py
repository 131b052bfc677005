"""What the trained model answers when numpy computes it offline: what served answers are compared with. Pure."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from serving.demo.cases import Case
from serving.demo.neighbours import TIE, Neighbours
from serving.demo.purchases import Purchases


def histories(purchases: Purchases, items: Sequence[str], cases: Sequence[Case], history: int) -> NDArray[np.int64]:
    """Return the model's input for each case, int64 [cases, history]: rows of `items`, padded on the left with -1."""
    row_of = {item: row for row, item in enumerate(items)}
    rows = np.array([row_of.get(item, -1) for item in purchases.item_ids], np.int64)[purchases.items]
    known = np.flatnonzero(rows >= 0)
    known = known[np.argsort(purchases.entities[known], kind="stable")]
    starts = np.searchsorted(purchases.entities[known], np.arange(len(purchases.entity_ids) + 1))
    entity_of = {entity_id: entity for entity, entity_id in enumerate(purchases.entity_ids)}
    out = np.full((len(cases), history), -1, np.int64)
    for line, case in zip(out, cases, strict=True):
        entity = entity_of[case.entity_id]
        mine = known[starts[entity] : starts[entity + 1]]
        last = mine[: np.searchsorted(mine, case.row)][-history:]
        line[history - len(last) :] = rows[last]
    return out


def recommend(
    neighbours: Neighbours, given: NDArray[np.int64], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Answer each history of `given`: rows and scores, both [len(given), k], best first."""
    size = len(neighbours.items)
    items = np.empty((len(given), k), np.int64)
    scores = np.empty((len(given), k), np.float32)
    handicap = np.arange(size) * TIE
    for line, history in enumerate(given):
        held = history[history >= 0]
        near, similar = neighbours.rows[held].ravel(), neighbours.similarity[held].ravel()
        sums = np.bincount(near, weights=similar, minlength=size)
        distinct = handicap - sums
        best = np.argpartition(distinct, k - 1)[:k]
        items[line] = best[np.argsort(distinct[best])]
        scores[line] = sums[items[line]]
    return items, scores
