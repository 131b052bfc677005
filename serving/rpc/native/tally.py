"""Counting calls in plain numbers, and now and then in the metrics, whose locks and files cost more than an answer."""

from bisect import bisect_left
from typing import Any

from serving.telemetry.metrics import SECONDS, Metrics


class Tally:
    """The calls of one method, by status and time. Used on the event loop; `flush` at least every second."""

    def __init__(self, metrics: Metrics, method: str) -> None:
        self._requests = metrics.requests
        self._method = method
        self._by_code: dict[str, int] = {}
        self._buckets = [0] * (len(SECONDS) + 1)
        self._sum = 0.0
        self._seconds: Any = metrics.request_seconds.labels(method)

    def add(self, code: str, seconds: float, calls: int = 1) -> None:
        """Count calls that ended in the same way at the same time."""
        self._by_code[code] = self._by_code.get(code, 0) + calls
        self._buckets[bisect_left(SECONDS, seconds)] += calls
        self._sum += seconds * calls

    def flush(self) -> None:
        """Tell the metrics. Their histogram has no public way to take more than one observation at a time."""
        if not self._by_code:
            return
        for code, calls in self._by_code.items():
            self._requests.labels(self._method, code).inc(calls)
        self._by_code.clear()
        for bucket, calls in enumerate(self._buckets):
            if calls:
                self._seconds._buckets[bucket].inc(calls)  # noqa: SLF001 - see above
                self._buckets[bucket] = 0
        self._seconds._sum.inc(self._sum)  # noqa: SLF001
        self._sum = 0.0
