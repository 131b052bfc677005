"""Observations counted in plain numbers, and now and then in the metrics, whose locks and files cost more than it."""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any


class Distribution:
    """Of one thread, for a histogram with its labels, and its `bounds`. `flush` at least every second."""

    __slots__ = ("_bounds", "_buckets", "_histogram", "_sum")

    def __init__(self, histogram: Any, bounds: Sequence[float]) -> None:
        self._histogram = histogram
        self._bounds = bounds
        self._buckets = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def add(self, value: float, times: int = 1) -> None:
        """Observe the same so many times."""
        self._buckets[bisect_left(self._bounds, value)] += times
        self._sum += value * times

    def flush(self) -> None:
        """Tell the metrics. Their histogram has no public way to take more than one observation at a time."""
        for bucket, times in enumerate(self._buckets):
            if times:
                self._histogram._buckets[bucket].inc(times)  # noqa: SLF001 - see above
                self._buckets[bucket] = 0
        if self._sum:
            self._histogram._sum.inc(self._sum)  # noqa: SLF001
            self._sum = 0.0
