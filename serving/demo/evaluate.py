"""How good recommendations are, whoever made them: recall over lists of ids, added up as answers come in. Pure.

`serving/demo/cases.py` says what is asked. Popularity is measured like anything else: by giving its list as answer.
"""

import math
from collections.abc import Collection, Iterable, Sequence

from serving.demo.cases import Case

K = 20


class MonthRecall:
    """Mean over entities of: hits among the first `k` recommended, divided by min(k, number of products bought)."""

    def __init__(self, k: int = K) -> None:
        self.count = 0
        self._k = k
        self._sum = 0.0

    def add(self, recommended: Sequence[str], bought: Collection[str]) -> None:
        """Count one entity: ids best first (none finds nothing), and the ids that it bought, at least one."""
        distinct = frozenset(bought)
        self._sum += len(distinct.intersection(recommended[: self._k])) / min(self._k, len(distinct))
        self.count += 1

    @property
    def value(self) -> float:
        """The recall so far; nan of nothing."""
        return self._sum / self.count if self.count else math.nan


class NextEventRecall:
    """Share of purchases that were among the first `k` recommended just before."""

    def __init__(self, k: int = K) -> None:
        self.count = 0
        self.hits = 0
        self._k = k

    def add(self, recommended: Sequence[str], item: str) -> None:
        """Count one purchase: ids best first (none finds nothing), and the id that was bought."""
        self.hits += item in recommended[: self._k]
        self.count += 1

    @property
    def value(self) -> float:
        """The recall so far; nan of nothing."""
        return self.hits / self.count if self.count else math.nan


def month_recall(cases: Iterable[Case], answers: Iterable[Sequence[str]], k: int = K) -> float:
    """Return the recall of one answer per case of `month_cases`, in the same order; ValueError if counts differ."""
    recall = MonthRecall(k)
    for case, answer in zip(cases, answers, strict=True):
        recall.add(answer, case.items)
    return recall.value


def next_event_recall(cases: Iterable[Case], answers: Iterable[Sequence[str]], k: int = K) -> float:
    """Return the recall of one answer per case of `next_cases`, in the same order; ValueError if counts differ."""
    recall = NextEventRecall(k)
    for case, answer in zip(cases, answers, strict=True):
        (item,) = case.items
        recall.add(answer, item)
    return recall.value


def popularity(cases: Sequence[Case], popular: Sequence[str]) -> list[Sequence[str]]:
    """Answer every case with the most popular products: what any model has to beat."""
    return [popular] * len(cases)
