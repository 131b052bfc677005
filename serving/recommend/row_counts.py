"""How many rows runs have, for the metrics, which come up to date now and then: each costs as much as a small run."""

import asyncio

from serving.telemetry.distribution import Distribution
from serving.telemetry.metrics import ROWS, Metrics

_SOON_S = 0.2


class RowCounts:
    """By model. Used on one event loop."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._models: dict[str, Distribution] = {}
        self._due = False

    def add(self, loop: asyncio.AbstractEventLoop, model: str, rows: int) -> None:
        """Count a run; the loop brings the metrics up to date, soon."""
        found = self._models.get(model)
        if found is None:
            found = self._models[model] = Distribution(self._metrics.online_rows.labels(model), ROWS)
        found.add(rows)
        if not self._due:
            self._due = True
            loop.call_later(_SOON_S, self.flush)

    def flush(self) -> None:
        """Bring the metrics up to date."""
        self._due = False
        for rows in self._models.values():
            rows.flush()
