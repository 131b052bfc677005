"""The use case Recommend: an answer for an entity, from the first source that has one.

Order: a fresh prediction of the version that serves this entity; else computed now from the entity's state; else
the catalogue's popular items, marked FALLBACK. Never an error where an answer exists.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from protos.names import InvalidNameError, entity_key
from protos.nearline.v1 import recommender_pb2
from protos.partition import partition_of
from serving.errors import InvalidRequestError, ModelError, StoreUnavailableError
from serving.models.answers import PREDICTIONS, SOURCE_BYTES, Answer, prediction_key, read_entry, read_message
from serving.models.loaded import LoadedModel
from serving.models.predict import States, answers, features, inputs, output_names, popular, width
from serving.models.table import ActiveTable
from serving.recipes.history import STATES, History, state_key
from serving.recommend.batcher import Batcher
from serving.store.port import Key, StoreReader
from serving.telemetry.metrics import Metrics

log = structlog.get_logger()

MAX_K = 10_000
MAX_EXCLUDED = 10_000
MAX_ENTITIES = 1_000


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked for; `k` 0 = all that the model gives, `max_age_ms` 0 = any age."""

    objective: str
    k: int = 0
    exclude: frozenset[str] = frozenset()
    max_age_ms: int = 0
    test: bool = False


class Recommender:
    """Used on the event loop of a serving worker."""

    def __init__(
        self,
        table: ActiveTable,
        store: StoreReader,
        batcher: Batcher,
        metrics: Metrics,
        partitions: Callable[[], int],
    ) -> None:
        self._table = table
        self._store = store
        self._batcher = batcher
        self._metrics = metrics
        self._partitions = partitions

    async def recommend(self, query: Query, entity_id: str) -> bytes:
        """Return an encoded RecommendResponse; NotFoundError, UnavailableError or InvalidRequestError."""
        _check(query)
        try:
            entity = entity_key(entity_id)
        except InvalidNameError as error:
            raise InvalidRequestError("entity_id", "1 to 256 bytes of UTF-8", f"{len(entity_id)} characters") from error
        with self._table.lease(query.objective, entity=entity) as loaded:
            features(loaded)
            message, source = await self._answer(query, loaded, entity)
            name = recommender_pb2.Source.Name(source)
            traffic = "test" if query.test else "real"
            self._metrics.recommendations.labels(loaded.model, loaded.version, name, traffic).inc()
            return message + SOURCE_BYTES[source]

    async def recommend_all(self, query: Query, entity_ids: Sequence[str]) -> list[bytes]:
        """Return one answer per entity, in order; those that are computed share runs."""
        return await asyncio.gather(*(self.recommend(query, entity_id) for entity_id in entity_ids))

    async def _answer(
        self, query: Query, loaded: LoadedModel, entity: bytes
    ) -> tuple[bytes, "recommender_pb2.Source.ValueType"]:
        shard = partition_of(entity, self._partitions())
        try:
            (entry,) = await self._store.read([Key(shard, PREDICTIONS, prediction_key(loaded, entity))])
            if entry is not None:
                computed_ms, message = read_entry(entry)
                if not query.max_age_ms or _now_ms() - computed_ms <= query.max_age_ms:
                    return _narrowed(message, query), recommender_pb2.FROM_NEARLINE
            states = await self._states(loaded, shard, entity)
        except StoreUnavailableError as error:
            log.warning("store.away", error=str(error))
            states = None
        if states is not None:
            try:
                answer = await self._compute(loaded, states)
                return answer.narrowed(query.k, query.exclude).message(), recommender_pb2.FROM_ONLINE
            except ModelError as error:
                self._metrics.run_errors.labels(loaded.model, loaded.version).inc()
                log.error("online.run", model=loaded.model, version=loaded.version, error=str(error))
        answer = popular(loaded, _now_ms()).narrowed(query.k or width(loaded), query.exclude)
        return answer.message(), recommender_pb2.FROM_FALLBACK

    async def _states(self, loaded: LoadedModel, shard: int, entity: bytes) -> States | None:
        """The entity's histories; None when nothing is known of it."""
        wanted = {feature.field: state_key(feature, entity) for feature in features(loaded).values()}
        stored = await self._store.read([Key(shard, STATES, key) for key in wanted.values()])
        if all(state is None for state in stored):
            return None
        return {name: History.decode(state) for name, state in zip(wanted, stored, strict=True)}

    async def _compute(self, loaded: LoadedModel, states: States) -> Answer:
        items, scores = await self._batcher.run(loaded, inputs(loaded, [states]), output_names(loaded))
        return answers(loaded, items, scores, _now_ms(), rows=1)[0]


def _check(query: Query) -> None:
    if not query.objective:
        raise InvalidRequestError("objective", "a name", "an empty string")
    if query.k > MAX_K:
        raise InvalidRequestError("k", f"at most {MAX_K}", query.k)
    if len(query.exclude) > MAX_EXCLUDED:
        raise InvalidRequestError("exclude", f"at most {MAX_EXCLUDED} items", len(query.exclude))


def _narrowed(message: bytes, query: Query) -> bytes:
    """The stored answer as it is, unless the request wants a part of it."""
    if not query.k and not query.exclude:
        return message
    return read_message(message).narrowed(query.k, query.exclude).message()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
