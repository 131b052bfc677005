"""Counting calls in plain numbers, and now and then in the metrics, whose locks and files cost more than an answer."""

from serving.telemetry.distribution import Distribution
from serving.telemetry.metrics import SECONDS, Metrics


class Tally:
    """The calls of one method, by status and time. Used on the event loop; `flush` at least every second."""

    def __init__(self, metrics: Metrics, method: str) -> None:
        self._requests = metrics.requests
        self._method = method
        self._by_code: dict[str, int] = {}
        self._seconds = Distribution(metrics.request_seconds.labels(method), SECONDS)

    def add(self, code: str, seconds: float, calls: int = 1) -> None:
        """Count calls that ended in the same way at the same time."""
        self._by_code[code] = self._by_code.get(code, 0) + calls
        self._seconds.add(seconds, calls)

    def flush(self) -> None:
        """Tell the metrics."""
        if not self._by_code:
            return
        for code, calls in self._by_code.items():
            self._requests.labels(self._method, code).inc(calls)
        self._by_code.clear()
        self._seconds.flush()
