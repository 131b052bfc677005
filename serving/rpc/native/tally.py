"""Counting calls, a read's worth at a time."""

from bisect import bisect_left
from typing import Any

from serving.telemetry.metrics import Metrics


class Tally:
    """The calls of one method, by status and time."""

    def __init__(self, metrics: Metrics, method: str) -> None:
        self._requests = metrics.requests
        self._method = method
        self._by_code: dict[str, Any] = {}
        self._seconds: Any = metrics.request_seconds.labels(method)

    def add(self, code: str, seconds: float, calls: int = 1) -> None:
        """Count calls that ended in the same way at the same time.

        The histogram has no public way to observe a number of equal values, and one by one costs more than a hit.
        """
        requests = self._by_code.get(code)
        if requests is None:
            requests = self._by_code[code] = self._requests.labels(self._method, code)
        requests.inc(calls)
        histogram = self._seconds
        histogram._sum.inc(seconds * calls)  # noqa: SLF001 - see above
        histogram._buckets[bisect_left(histogram._upper_bounds, seconds)].inc(calls)  # noqa: SLF001
