"""What the trained model answers when numpy computes it offline: what served answers are compared with. Pure."""

from collections.abc import Sequence

import numpy as np

from serving.demo.evaluate import Case
from serving.demo.purchases import Purchases
from serving.demo.train import ItemToItem

_TIE = 2.0**-40
"""Taken off per row of the catalogue. Less than the step that similarities are rounded to, for up to 2**14 rows, and
float64 holds both without error: a tie goes to the smaller row, as in TopK."""


def popular_answers(model: ItemToItem, cases: Sequence[Case]) -> list[list[str]]:
    """Answer every case with the products that have the most customers."""
    popular = [model.ids[row] for row in model.popular]
    return [popular] * len(cases)


def reference_answers(model: ItemToItem, purchases: Purchases, cases: Sequence[Case]) -> list[list[str]]:
    """Answer each case by co-occurrence with the entity's last `n` known purchases before the case's row."""
    grouped: dict[str, list[int]] = {}
    for number, case in enumerate(cases):
        grouped.setdefault(case.entity_id, []).append(number)
    rows = model.rows_of(purchases)[purchases.items]
    known = np.flatnonzero(rows >= 0)
    known = known[np.argsort(purchases.entities[known], kind="stable")]
    starts = np.searchsorted(purchases.entities[known], np.arange(len(purchases.entity_ids) + 1))
    answers: list[list[str]] = [[]] * len(cases)
    for entity, entity_id in enumerate(purchases.entity_ids):
        if asked := sorted(grouped.get(entity_id, ()), key=lambda number: cases[number].row):
            mine = known[starts[entity] : starts[entity + 1]]
            ends = np.searchsorted(mine, [cases[number].row for number in asked])
            for number, best in zip(asked, _slide(model, rows[mine].tolist(), ends.tolist()), strict=True):
                answers[number] = best
    return answers


def _slide(model: ItemToItem, history: Sequence[int], ends: Sequence[int]) -> list[list[str]]:
    """Return the answer after the first `end` purchases, for ascending ends: one window slides over the history."""
    scores = np.arange(len(model.ids)) * -_TIE
    start = done = 0
    answers = []
    for end in ends:
        first = max(start, end - model.n)
        for row in history[start : min(first, done)]:
            scores -= model.similarity[row]
        for row in history[max(first, done) : end]:
            scores += model.similarity[row]
        start, done = first, end
        best = np.argpartition(scores, -model.k)[-model.k :]
        answers.append([model.ids[row] for row in best[np.argsort(-scores[best])]])
    return answers
