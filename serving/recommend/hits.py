"""The usual answer of Recommend, without waiting: a fresh prediction that a near-line worker stored.

Whatever is not quite that gets None, and goes the whole way of `Recommender`, which gives the same answer for what is
answered here; only faster, since requests come again and versions seldom change. A hit takes no lease: it reads what
the version has computed, and runs nothing of it.
"""

import asyncio
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError

from protos.names import InvalidNameError, entity_key
from protos.nearline.v1 import recommender_pb2
from protos.partition import partition_of
from protos.traffic import version_for
from serving.errors import StoreUnavailableError
from serving.models.answers import SOURCE_BYTES, computed_at
from serving.models.loaded import LoadedModel
from serving.models.places import PREDICTIONS, key_of
from serving.models.table import ActiveModel, ActiveTable
from serving.store.port import Key, StoreReader
from serving.telemetry.metrics import Metrics

_REQUESTS = 1 << 14
_REQUEST_BYTES = 512
_HEAD_BYTES = 8
_SOURCE = SOURCE_BYTES[recommender_pb2.FROM_NEARLINE]
_NAME = recommender_pb2.Source.Name(recommender_pb2.FROM_NEARLINE)


class Asked(NamedTuple):
    """A request for all of an entity's prediction: nothing to leave out, nothing that a model must look at."""

    objective: str
    entity: bytes
    max_age_ms: int
    traffic: str


class Version:
    """A version as hits need it, and how many it had since they were last counted."""

    __slots__ = ("blocked", "counted", "metrics", "space", "ttl_ms")

    def __init__(self, active: ActiveModel, loaded: LoadedModel, ttl_s: int | None, metrics: Metrics) -> None:
        self.blocked = active.blocked if active.ledger.blocked else None
        self.space = PREDICTIONS + key_of(loaded)
        self.ttl_ms = None if ttl_s is None else ttl_s * 1000
        self.counted = {"real": 0, "test": 0}
        self.metrics: dict[str, Any] = {
            traffic: metrics.recommendations.labels(loaded.model, loaded.version, _NAME, traffic)
            for traffic in self.counted
        }


class Hits:
    """Used on the event loop of a serving worker. `partitions`: how many shards there are."""

    def __init__(self, table: ActiveTable, store: StoreReader, metrics: Metrics, partitions: Callable[[], int]) -> None:
        self._table = table
        self._store = store
        self._metrics = metrics
        self._partitions = partitions
        self._known: dict[str, tuple[ActiveModel, dict[int, Version]]] = {}
        self._uncounted: set[Version] = set()

    def answer(self, request: bytes) -> bytes | None:
        """Return the encoded RecommendResponse to an encoded RecommendRequest, or None: ask the Recommender."""
        asked = _remembered(request) if len(request) <= _REQUEST_BYTES else _read(request)
        if asked is None:
            return None
        objective, entity, max_age_ms, traffic = asked
        version = self._version(objective, entity)
        if version is None:
            return None
        stored = self._stored(version.space, entity)
        if stored is None:
            return None
        least_ms = version.ttl_ms if not max_age_ms else min(max_age_ms, version.ttl_ms or max_age_ms)
        if least_ms is not None and time.time_ns() // 1_000_000 - computed_at(stored) > least_ms:
            return None
        message = stored[_HEAD_BYTES:]
        if version.blocked is not None and version.blocked.may_be_in(message):
            return None
        if not self._uncounted:
            asyncio.get_running_loop().call_soon(self._count)
        self._uncounted.add(version)
        version.counted[traffic] += 1
        return message + _SOURCE

    def _stored(self, space: bytes, entity: bytes) -> bytes | None:
        try:
            found = self._store.read_now((Key(partition_of(entity, self._partitions()), space, entity),))
        except StoreUnavailableError:
            return None
        return found[0] if found is not None else None

    def _version(self, objective: str, entity: bytes) -> Version | None:
        active = self._table.current.get(objective)
        known = self._known.get(objective)
        if active is None or not active.shares or active.bulk is not None:
            return None
        if known is None or known[0] is not active:
            known = self._known[objective] = (active, self._versions(active))
        shares, versions = active.recommend, known[1]
        number = shares[0].version if len(shares) == 1 else version_for(shares, objective, entity)
        return versions.get(number)

    def _versions(self, active: ActiveModel) -> dict[int, Version]:
        """Those whose stored answers are whole; an ActiveModel is replaced when anything about it changes."""
        return {
            number: Version(active, loaded, loaded.predictor.settings.ttl, self._metrics)
            for number, loaded in active.versions.items()
            if loaded.predictor is not None and loaded.predictor.stores_all
        }

    def _count(self) -> None:
        """Count once a tick: a metric's own locks and files cost more than a hit."""
        for version in self._uncounted:
            for traffic, count in version.counted.items():
                if count:
                    version.metrics[traffic].inc(count)
                    version.counted[traffic] = 0
        self._uncounted.clear()


def _read(data: bytes) -> Asked | None:
    try:
        request = recommender_pb2.RecommendRequest.FromString(data)
        entity = entity_key(request.entity_id)
    except (DecodeError, InvalidNameError):
        return None
    if request.k or request.exclude or request.context or not request.objective:
        return None
    traffic = "test" if request.traffic == recommender_pb2.TEST else "real"
    return Asked(request.objective, entity, request.max_age_ms, traffic)


_remembered = lru_cache(maxsize=_REQUESTS)(_read)
"""Entities that are asked for again and again, and those are few among many, are read once."""
