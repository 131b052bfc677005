"""What the near-line loop tells: metrics, progress of versions, and the log lines that matter."""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping

from serving.errors import StoreFullError, StoreUnavailableError
from serving.models.places import ACTIVE, DUE, model_of
from serving.models.table import ActiveTable
from serving.nearline.compute import Step
from serving.nearline.fills import FillView
from serving.nearline.intake import Intake
from serving.nearline.shard import Shards
from serving.store.port import Key, StoreWriter, Usage
from serving.telemetry.nearline import NearlineMetrics
from serving.telemetry.trouble import Trouble

Backfilled = Callable[[str, int, int, int], None]
"""Model, version, active entities of this worker's shards, and how many of them have no prediction yet."""


class Telling:
    """One thread. `refilled(model)`: decide anew whether its new version may answer."""

    def __init__(
        self,
        metrics: NearlineMetrics,
        view: FillView,
        table: ActiveTable,
        refilled: Callable[[str], None],
        backfilled: Backfilled,
    ) -> None:
        self._metrics = metrics
        self._view = view
        self._table = table
        self._refilled = refilled
        self._backfilled = backfilled
        self._told: dict[bytes, tuple[int, int]] = {}
        self._away = Trouble("store.away", "store.back")
        self._paused = False

    def stepped(self, intake: Intake, step: Step, dead: int, seconds: float) -> None:
        """A batch of events was written."""
        metrics = self._metrics
        # Before the events: whoever has seen these counted sees that something is due, until `fills` counts exactly.
        metrics.due.inc(step.marked)
        metrics.events.inc(step.applied)
        metrics.duplicates.inc(step.duplicates)
        metrics.late.inc(len(step.late))
        metrics.dead_letters.inc(dead)
        metrics.clamped.inc(intake.clamped)
        metrics.marked.inc(step.marked)
        metrics.batch_events.observe(intake.count)
        metrics.batch_seconds.observe(seconds)
        if step.predictions:
            now = time.time()
            metrics.freshness.observe(max(0.0, now - intake.oldest_append_ms / 1000))
            metrics.event_freshness.observe(max(0.0, now - intake.oldest_event_ms / 1000))

    def predicted(self, count: int) -> None:
        """Predictions were written."""
        if count:
            self._metrics.predictions.inc(count)

    def ordered(self, recomputed: int, erased: int, dead: int) -> None:
        """A batch of commands was written."""
        self._metrics.recomputes.inc(recomputed)
        self._metrics.erasures.inc(erased)
        self._metrics.dead_letters.inc(dead)

    def lag(self, by_shard: Mapping[int, int]) -> None:
        """So many records wait."""
        self._metrics.lag.set(sum(max(0, behind) for behind in by_shard.values()))

    def sizes(self, usage: Usage) -> None:
        """How full the store is."""
        self._metrics.store_bytes.set(usage.bytes_used)
        self._metrics.store_budget.set(usage.bytes_budget or 0)

    def store_away(self, error: StoreUnavailableError) -> None:
        """Nothing is consumed from now on."""
        self._metrics.store_failures.inc()
        self._metrics.paused.set(1)
        self._paused = True
        full = "raise NEARLINE_STORE_BYTES, or make room: " if isinstance(error, StoreFullError) else ""
        self._away.met(str(error), action=f"{full}consuming nothing until it can be written")

    def store_back(self) -> None:
        """Consuming goes on, if it did not."""
        if self._paused:
            self._paused = False
            self._metrics.paused.set(0)
            self._away.ended(action="going on at the store's positions")

    def fills(self, shards: Shards, store: StoreWriter) -> None:
        """Tell how far versions are and what is due; let the deployer decide on those that `Recommend` waits for."""
        for model, keys in self._view.wanted(self._table).items():
            self._view.learn(keys, [_read(store, key) for key in keys])
            self._refilled(model)
        self._metrics.entities.set(sum(store.size(number, ACTIVE) for number in shards))
        totals: defaultdict[bytes, list[int]] = defaultdict(lambda: [0, 0])
        due = 0
        for shard in shards.values():
            for version, record in shard.fills.items():
                if not record.stopped_ms:
                    totals[version][0] += record.total
                    totals[version][1] += record.left
                    due += store.size(shard.number, DUE + version)
        self._metrics.due.set(due)
        for version in self._told.keys() - totals.keys():  # not computed any more: nothing of it is left to be done
            del self._told[version]
            for gauge in (self._metrics.backfill_left, self._metrics.backfill_total):
                gauge.labels(*model_of(version)).set(0)
        for version, (total, left) in totals.items():
            if self._told.get(version) != (total, left):
                self._told[version] = (total, left)
                model, number = model_of(version)
                self._metrics.backfill_left.labels(model, number).set(left)
                self._metrics.backfill_total.labels(model, number).set(total)
                self._backfilled(model, number, total, left)


def _read(store: StoreWriter, key: Key) -> bytes | None:
    return store.read(key.shard, key.space, [key.key])[0]
