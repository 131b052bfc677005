"""The usual answer of Recommend, without waiting: a fresh prediction that a near-line worker stored.

Whatever is not quite that gets None, and goes the whole way of `Recommender`, which gives the same answer for what is
answered here; only faster, since requests come again, versions seldom change, and most predictions are asked for more
often than they are computed. What of a request stays the same until the model changes is its Plan. A hit takes no
lease: it reads what the version has computed, and runs nothing of it. When a version has too much to do, who would have
to wait for it gets the Recommender's last resort here, as cheaply as a hit: of an overloaded worker, what it does not
compute must cost little.
"""

import asyncio
import time
from collections.abc import Callable, Sequence

from google.protobuf.message import DecodeError

from protos.names import InvalidNameError, entity_key
from protos.nearline.v1 import recommender_pb2
from protos.partition import partition_of
from protos.traffic import version_for
from serving.errors import StoreUnavailableError
from serving.models.table import ActiveModel, ActiveTable
from serving.recommend.batcher import Batcher
from serving.recommend.plans import Plan, Plans, Version
from serving.recommend.query import MAX_EXCLUDED, MAX_K
from serving.recommend.ready import Ready
from serving.store.port import Key, StoreReader
from serving.telemetry.metrics import Metrics

_REQUEST_BYTES = 512
_COUNT_S = 0.2


class Hits:
    """Used on the event loop of a serving worker. `partitions`: how many shards there are. `batcher`: for `spare`."""

    def __init__(
        self,
        table: ActiveTable,
        store: StoreReader,
        metrics: Metrics,
        partitions: Callable[[], int],
        batcher: Batcher | None = None,
    ) -> None:
        self._table = table
        self._store = store
        self._metrics = metrics
        self._partitions = partitions
        self._batcher = batcher
        self._seen = (0, 0)
        """Generation of the table, and partitions, that the plans are for: nothing here keeps a version in memory."""
        self._versions: dict[str, dict[int, Version]] = {}
        self._plans = Plans()
        self._uncounted: set[Version] = set()

    def answers(self, requests: Sequence[bytes]) -> list[Ready | None]:
        """Return the encoded RecommendResponse to each encoded RecommendRequest, or None: ask the Recommender."""
        seen = self._table.generation, self._partitions()
        if not seen[1]:
            return [None] * len(requests)  # no shards are known yet
        if seen != self._seen:
            self._forget()
            self._seen = seen
        known = self._plans.young.get
        plans = [known(request) or self._plan(request) for request in requests]
        answers: list[Ready | None] = [None] * len(plans)
        found = [plan for plan in plans if plan is not None]
        try:
            values = self._store.read_slots([plan.slot for plan in found]) if found else None
        except StoreUnavailableError:
            return answers
        if values is None:
            return answers
        for plan, value in zip(found, values, strict=True):
            if value is not plan.value:
                plan.look(value)
                self._plans.weigh(plan)
        return self._fresh(plans, answers)

    def spare(self, request: bytes, left_s: float | None) -> Ready | None:
        """Return the last resort for a request that `answers` has just given None, if there is no time for better.

        left_s: how long it may wait; None = as long as anybody. Otherwise None: ask the Recommender.
        """
        plan = self._plans.young.get(request)
        if plan is None:
            return None
        version = plan.version
        if left_s is None or left_s > 0:
            loaded = version.loaded()
            if loaded is None or self._batcher is None or not self._batcher.full(loaded, left_s):
                return None
        spare = plan.spare
        if spare is None:
            spare = plan.spared(time.time_ns() // 1_000_000)
            self._plans.weigh(plan)
        if spare is not None:
            self._to_count(version)
            version.spared[plan.kind] += 1
        return spare

    def _to_count(self, version: Version) -> None:
        if not self._uncounted:
            asyncio.get_running_loop().call_later(_COUNT_S, self.count)
        self._uncounted.add(version)

    def _fresh(self, plans: list[Plan | None], answers: list[Ready | None]) -> list[Ready | None]:
        """Fill in the answers that have not expired, and count them."""
        now_ms, version = time.time_ns() // 1_000_000, None
        for at, plan in enumerate(plans):
            if plan is None or plan.ready is None or now_ms > plan.until_ms:
                continue
            answers[at] = plan.ready
            if plan.version is not version:
                version = plan.version
                counted = version.counted
                self._to_count(version)
            counted[plan.kind] += 1
        return answers

    def _plan(self, request: bytes) -> Plan | None:
        """A plan that is not young. What has none, and is to go the whole way, is not remembered at all."""
        plan = self._plans.find(request)
        if plan is None:
            plan = self._planned(request)
            if plan is not None and len(request) <= _REQUEST_BYTES:
                self._plans.keep(request, plan)
        return plan

    def _planned(self, data: bytes) -> Plan | None:
        try:
            request = recommender_pb2.RecommendRequest.FromString(data)
            entity = entity_key(request.entity_id)
        except (DecodeError, InvalidNameError):
            return None
        if request.context or request.k > MAX_K or len(request.exclude) > MAX_EXCLUDED:
            return None
        version = self._version(request.objective, entity)
        if version is None:
            return None
        slot = self._store.slot(Key(partition_of(entity, self._seen[1]), version.space, entity))
        return Plan(slot, version, request)

    def _version(self, objective: str, entity: bytes) -> Version | None:
        active = self._table.current.get(objective)
        if active is None or not active.shares or active.bulk is not None:
            return None
        versions = self._versions.get(objective)
        if versions is None:
            versions = self._versions[objective] = self._of(active)
        shares = active.recommend
        return versions.get(shares[0].version if len(shares) == 1 else version_for(shares, objective, entity))

    def _of(self, active: ActiveModel) -> dict[int, Version]:
        """Those that recommend; an ActiveModel is replaced when anything about it changes."""
        return {
            number: Version(active, loaded, loaded.predictor, self._metrics)
            for number, loaded in active.versions.items()
            if loaded.predictor is not None
        }

    def _forget(self) -> None:
        self._plans.clear()
        self._versions.clear()

    def count(self) -> None:
        """Bring the metrics up to date, now and then: their own locks and files cost more than a hit."""
        for version in self._uncounted:
            version.count()
        self._uncounted.clear()
