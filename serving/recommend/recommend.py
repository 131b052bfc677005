"""The use case Recommend: an answer for an entity, from the first source that has one.

Order: a fresh prediction of the version that serves this entity; else computed now from the entity's state and the
request's context; else the last prediction although it has expired, or the catalogue's popular items, marked FALLBACK.
Never an error where an answer exists.
"""

import asyncio
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import structlog
from prometheus_client import Counter

from protos.nearline.v1 import recommender_pb2
from protos.partition import partition_of
from serving.errors import ModelError, OverloadedError, StoreUnavailableError
from serving.models.answers import SOURCE_BYTES, computed_at, message_of
from serving.models.blocking import Hidden
from serving.models.loaded import LoadedModel
from serving.models.places import PREDICTIONS, STATES, bulk_space, key_of
from serving.models.predictor import Predictor
from serving.models.table import ActiveModel, ActiveTable
from serving.recommend.answering import Asked, predictor_of
from serving.recommend.batcher import Batcher
from serving.recommend.convoy import TellerAll, begun_all
from serving.recommend.misses import Misses
from serving.recommend.parts import narrowed, part
from serving.recommend.query import Query, entity_of
from serving.recommend.steps import Run, Step, Steps, Teller, begun, waited
from serving.store.port import Key, StoreReader
from serving.telemetry.metrics import Metrics
from serving.telemetry.trouble import Trouble

log = structlog.get_logger()

_COUNTERS = 1_000
"""Remembered: finding a metric by its labels takes longer than to count."""
_TOGETHER = 64
"""Entities of one request that are answered in the same turn of the event loop: as many as a run takes, by default.
Others come between."""


class Recommender:
    """Used on the event loop of a serving worker. `partitions`: how many shards there are."""

    def __init__(
        self,
        table: ActiveTable,
        store: StoreReader,
        batcher: Batcher,
        misses: Misses,
        metrics: Metrics,
        partitions: Callable[[], int],
    ) -> None:
        self._table = table
        self._store = store
        self._batcher = batcher
        self._misses = misses
        self._metrics = metrics
        self._partitions = partitions
        self._counters: dict[tuple[str, int, int, str], Counter] = {}
        self._waits = False
        """Whether the store has to be waited for: one that had to be once is of that kind."""
        self._away = Trouble("store.away", "store.back")

    async def recommend(self, query: Query, entity_id: str, deadline: float | None = None) -> bytes:
        """Return an encoded RecommendResponse; NotFoundError, UnavailableError, InvalidRequestError or ExpiredError.

        deadline: by the monotonic clock; None = there is none.
        """
        return await waited(self._steps(query, entity_id, deadline), self._store, self._batcher)

    def begin(self, query: Query, entity_id: str, deadline: float | None, told: Teller) -> Callable[[], None] | None:
        """Do the same without a coroutine; return what is to be called when nobody waits any more.

        None, and nothing is begun, where the store has to be waited for.
        """
        return begun(self._steps(query, entity_id, deadline), self._store, self._batcher, told)

    def begin_all(
        self, asked: Sequence[tuple[Query, str]], deadline: float | None, told: TellerAll
    ) -> Callable[[], None] | None:
        """As `begin`, for several queries with their entities: those that are computed are one request of a run."""
        if self._waits:
            return None
        steps = [self._steps(query, entity_id, deadline) for query, entity_id in asked]
        abandon = begun_all(steps, self._store, self._batcher, told)
        self._waits = abandon is None
        return abandon

    async def recommend_all(
        self, query: Query, entity_ids: Sequence[str], deadline: float | None = None
    ) -> list[bytes]:
        """Return one answer per entity, in order; those that are computed share runs.

        The first error is raised as `recommend` raises it, once the other answers are given up.
        """
        query.check()
        for entity_id in entity_ids:
            entity_of(entity_id)
        answers: list[bytes] = []
        for start in range(0, len(entity_ids), _TOGETHER):
            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [
                        group.create_task(self.recommend(query, entity_id, deadline))
                        for entity_id in entity_ids[start : start + _TOGETHER]
                    ]
            except ExceptionGroup as failed:
                raise failed.exceptions[0] from None
            answers += [task.result() for task in tasks]
        return answers

    def _count(self, loaded: LoadedModel, source: "recommender_pb2.Source.ValueType", traffic: str) -> None:
        key = (loaded.model, loaded.version, source, traffic)
        counter = self._counters.get(key)
        if counter is None:
            if len(self._counters) >= _COUNTERS:
                self._counters.clear()
            name = recommender_pb2.Source.Name(source)
            counter = self._counters[key] = self._metrics.recommendations.labels(
                loaded.model, loaded.version, name, traffic
            )
        counter.inc()

    def _steps(self, query: Query, entity_id: str, deadline: float | None) -> Steps:
        """All of it but waiting."""
        query.check()
        entity = entity_of(entity_id)
        loaded = self._table.acquire(query.objective, entity=entity)
        try:
            predictor = predictor_of(loaded)
            asked = predictor.inputs.said(query.context)
            active = self._table.lookup(query.objective)
            message, source = yield from self._answer(query, active, loaded, predictor, entity, asked, deadline)
            self._count(loaded, source, "test" if query.test else "real")
            return message + SOURCE_BYTES[source]
        finally:
            loaded.release()

    def _answer(
        self,
        query: Query,
        active: ActiveModel,
        loaded: LoadedModel,
        predictor: Predictor,
        entity: bytes,
        asked: Mapping[str, float | str],
        deadline: float | None,
    ) -> Generator[Step, Any, tuple[bytes, "recommender_pb2.Source.ValueType"]]:
        now_ms = time.time_ns() // 1_000_000
        hidden = Hidden(query.exclude, active.blocked, now_ms)
        shard = partition_of(entity, self._partitions())
        stored = document = None
        whole = False
        try:
            if not asked:
                stored, whole = yield from _stored(active, loaded, predictor, shard, entity)
                if stored is not None and _is_fresh(stored, query, predictor, now_ms):
                    message = part(message_of(stored), query.k, hidden, predictor.width, whole=whole)
                    if message is not None:
                        return message, recommender_pb2.FROM_NEARLINE
            (document,) = yield [Key(shard, STATES, entity)]
            self._away.ended()
        except StoreUnavailableError as error:
            self._away.met(str(error))
        # Without a state there is still an answer of a model that looks at the request alone.
        message = yield from self._computed(loaded, predictor, Asked(document, asked), deadline)
        if message is not None:
            expired = stored is not None and _has_expired(stored, predictor, now_ms)
            if not asked and document is not None and (stored is None or expired):
                self._misses.missed(entity, loaded.model, loaded.version, expired=expired)
            return narrowed(message, query.k, hidden), recommender_pb2.FROM_ONLINE
        if stored is None and asked:
            # What was predicted without the request's context is better than what is popular.
            with suppress(StoreUnavailableError):
                stored, _ = yield from _stored(active, loaded, predictor, shard, entity)
        if stored is not None:
            return narrowed(message_of(stored), query.k, hidden), recommender_pb2.FROM_FALLBACK
        popular = predictor.popular(now_ms).without(hidden).first(query.k or predictor.width)
        return popular.message(), recommender_pb2.FROM_FALLBACK

    def _computed(
        self, loaded: LoadedModel, predictor: Predictor, asked: Asked, deadline: float | None
    ) -> Generator[Step, Any, bytes | None]:
        """An encoded answer as of now; None when nothing is known that the recipe looks at, or the model cannot."""
        if asked.document is None and predictor.inputs.of_events and not asked.context:
            return None
        work = self._batcher.works.answering(loaded)
        try:
            answer: bytes | None = yield Run(loaded, work, asked, len(asked.document or b""), deadline)
        except OverloadedError:
            return None
        except ModelError as error:
            self._metrics.run_errors.labels(loaded.model, loaded.version).inc()
            log.error("online.run", model=loaded.model, version=loaded.version, error=str(error))
            return None
        return answer


def _stored(
    active: ActiveModel, loaded: LoadedModel, predictor: Predictor, shard: int, entity: bytes
) -> Generator[Step, Any, tuple[bytes | None, bool]]:
    """The prediction of an entity, and whether it holds all that there is.

    Of one that was computed here and one that was loaded, the later.
    """
    keys = [Key(shard, PREDICTIONS + key_of(loaded), entity)]
    bulk = active.bulk
    if bulk is not None and (bulk.version, bulk.digest) == (loaded.version, loaded.digest):
        keys.append(Key(shard, bulk_space(loaded.model, bulk), entity))
    computed, *imported = yield keys
    for stored in imported:
        if stored is not None and (computed is None or computed_at(stored) > computed_at(computed)):
            return stored, True
    return computed, predictor.stores_all


def _is_fresh(stored: bytes, query: Query, predictor: Predictor, now_ms: int) -> bool:
    too_old = query.max_age_ms and now_ms - computed_at(stored) > query.max_age_ms
    return not too_old and not _has_expired(stored, predictor, now_ms)


def _has_expired(stored: bytes, predictor: Predictor, now_ms: int) -> bool:
    ttl_s = predictor.settings.ttl
    return ttl_s is not None and now_ms - computed_at(stored) > ttl_s * 1000
