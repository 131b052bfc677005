"""The metrics of near-line computation."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from serving.telemetry.metrics import ROWS, SECONDS

_AGES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 60, 600, 3600, 86_400)


class NearlineMetrics:
    """Names begin with `nearline_`; counters end in `_total`, times are seconds."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str) -> Counter:
            return Counter(f"nearline_{name}", text, registry=registry)

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"nearline_{name}", text, multiprocess_mode="livesum", registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(f"nearline_{name}", text, buckets=buckets, registry=registry)

        self.events = counter("events", "Events folded into states.")
        self.duplicates = counter("events_duplicate", "Events that had been folded before, by their id.")
        self.late = counter("events_late", "Events that came later than the allowed lateness.")
        self.clamped = counter("events_clamped", "Events from the future, taken as of their append time.")
        self.dead_letters = counter("dead_letters", "Events and commands that could not be used.")
        self.predictions = counter("predictions", "Predictions written to the store.")
        self.marked = counter("predictions_marked", "Predictions that were marked as due: no time in their step.")
        self.due = gauge("due", "Predictions that are due, for whatever reason, of the shards of live workers.")
        self.recomputes = counter("recomputes", "Predictions marked as due because somebody missed them.")
        self.erasures = counter("erasures", "Entities erased.")
        self.bulk_rows = counter("bulk_rows", "Rows of bulk loads read.")
        self.bulk_failures = counter("bulk_failures", "Times that a bulk load could not be fetched, read or stored.")
        self.store_failures = counter("store_failures", "Times that the store could not be read or written.")
        self.paused = gauge("paused", "1 while a worker consumes nothing, because the store is away or full.")
        self.lag = gauge("lag_records", "Events that wait, of the shards of live workers.")
        self.store_bytes = gauge("store_bytes", "Bytes that the store takes, as each near-line worker sees it.")
        self.store_budget = gauge("store_budget_bytes", "Bytes that the store may take; 0 = no limit of ours.")
        self.entities = gauge("entities", "Entities whose state is kept.")
        self.backfill_total = self._by_version("backfill_total", "Active entities that a version is for.", registry)
        self.backfill_left = self._by_version("backfill_left", "Those of them without its prediction.", registry)
        self.batch_events = histogram("batch_events", "Events of one step.", ROWS)
        self.batch_seconds = histogram("batch_seconds", "Time of one step.", SECONDS)
        self.freshness = histogram(
            "freshness_seconds", "From appending the oldest event of a step to its prediction being readable.", SECONDS
        )
        self.event_freshness = histogram(
            "event_freshness_seconds",
            "From the oldest event of a step happening to its prediction being readable.",
            _AGES,
        )

    @staticmethod
    def _by_version(name: str, text: str, registry: CollectorRegistry) -> Gauge:
        labels = ["model", "version"]
        return Gauge(f"nearline_{name}", text, labels, multiprocess_mode="livesum", registry=registry)
