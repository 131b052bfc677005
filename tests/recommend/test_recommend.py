"""An answer for an entity, from the first source that has one."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from protos.nearline.v1 import recommender_pb2
from protos.partition import partition_of
from serving.errors import InvalidRequestError, NotFoundError, StoreUnavailableError, UnavailableError
from serving.models.answers import PREDICTIONS, Answer, prediction_key
from serving.models.loaded import LoadedModel
from serving.models.table import ActiveModel, ActiveTable
from serving.recipes.event import Event
from serving.recipes.history import STATES, History, state_key
from serving.recipes.recipe import LastN
from serving.recommend.batcher import Batcher
from serving.recommend.recommend import Query, Recommender
from serving.store.connect import connect_reader, connect_writer
from serving.store.port import Change, Cursor, Key, StoreReader, StoreWriter
from serving.telemetry.metrics import Metrics
from tests.builders.bundles import POPULAR, load, load_recommender, serve
from tests.builders.graphs import K, doubler, recommender

PARTITIONS = 4
ENTITY = "e1"
SHARD = partition_of(ENTITY.encode(), PARTITIONS)
NOW_MS = time.time_ns() // 1_000_000


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load(tmp_path_factory.mktemp("bundle"), "m", 3)


class World:
    """A recommender over a store, with one model that serves."""

    def __init__(self, writer: StoreWriter, reader: StoreReader, model: LoadedModel) -> None:
        self.table = ActiveTable()
        serve(self.table, model)
        self.model = model
        self.writer = writer
        self.registry = CollectorRegistry()
        metrics = Metrics(self.registry)
        self.batcher = Batcher(metrics, 64)
        self.recommender = Recommender(self.table, reader, self.batcher, metrics, lambda: PARTITIONS)

    def put(self, space: bytes, key: bytes, value: bytes) -> None:
        cursor = self.writer.cursor(SHARD)
        new = Cursor((("log", (cursor.offset("log") or 0) + 1 if cursor else 1),))
        self.writer.write(SHARD, cursor, new, [Change(space, key, value)])

    def predict(self, items: Sequence[str], computed_at_ms: int = NOW_MS) -> None:
        scores = [1.0 / (rank + 1) for rank in range(len(items))]
        answer = Answer(items, scores, self.model.model, self.model.version, computed_at_ms)
        self.put(PREDICTIONS, prediction_key(self.model, ENTITY.encode()), answer.entry())

    def remember(self, *items: str) -> None:
        history = History()
        events = [Event(b"", b"%08d" % at, "", at, {"item": item}) for at, item in enumerate(items)]
        history.fold(events, LastN(n=1), 100)
        self.put(STATES, state_key(LastN(n=1), ENTITY.encode()), history.encode())

    def ask(self, query: Query | None = None, entity: str = ENTITY) -> recommender_pb2.RecommendResponse:
        data = asyncio.run(self.recommender.recommend(query or Query("m"), entity))
        return recommender_pb2.RecommendResponse.FromString(data)


@pytest.fixture
def world(tmp_path: Path, model: LoadedModel) -> Iterator[World]:
    writer, reader = connect_writer("lmdb", tmp_path, "t"), connect_reader("lmdb", tmp_path, "t")
    made = World(writer, reader, model)
    yield made
    made.batcher.close()
    asyncio.run(reader.close())
    writer.close()


def test_a_prediction_of_this_version_is_the_answer(world: World) -> None:
    world.predict(["item-7", "item-8"])
    response = world.ask()
    assert (list(response.item_ids), response.source) == (["item-7", "item-8"], recommender_pb2.FROM_NEARLINE)
    assert (response.model, response.version, response.computed_at_ms) == ("m", 3, NOW_MS)
    assert len(response.scores) == 2


def test_without_one_the_answer_is_computed_from_the_state(world: World) -> None:
    world.remember("item-1", "unknown", "item-3")
    response = world.ask()
    assert response.source == recommender_pb2.FROM_ONLINE
    assert list(response.item_ids) == ["item-2", "item-4", "item-3"]
    assert (response.model, response.version) == ("m", 3)
    assert abs(response.computed_at_ms - time.time() * 1000) < 60_000


def test_an_unknown_entity_gets_popular_items(world: World) -> None:
    response = world.ask()
    assert (list(response.item_ids), response.source) == (POPULAR[:K], recommender_pb2.FROM_FALLBACK)


def test_a_prediction_of_another_version_or_bundle_is_not_read(world: World) -> None:
    world.predict(["item-7"])
    model = world.model
    for version, digest in ((4, model.digest), (3, "0" * 64)):
        serve(world.table, LoadedModel("m", version, digest, model.bundle, model.session))
        assert world.ask().source == recommender_pb2.FROM_FALLBACK


@pytest.mark.parametrize("known", [True, False])
def test_a_prediction_that_is_too_old_is_computed_anew(world: World, *, known: bool) -> None:
    world.predict(["item-7"], NOW_MS - 3_600_000)
    if known:
        world.remember("item-1")
    assert world.ask(Query("m", max_age_ms=7_200_000)).source == recommender_pb2.FROM_NEARLINE
    expected = recommender_pb2.FROM_ONLINE if known else recommender_pb2.FROM_FALLBACK
    assert world.ask(Query("m", max_age_ms=60_000)).source == expected


@pytest.mark.parametrize("source", ["prediction", "state", "nothing"])
def test_k_and_exclude_hold_for_every_source(world: World, source: str) -> None:
    if source == "prediction":
        world.predict(["item-2", "item-3", "item-4"])
    elif source == "state":
        world.remember("item-1")
    whole = list(world.ask().item_ids)
    assert len(whole) >= K
    assert list(world.ask(Query("m", k=1)).item_ids) == whole[:1]
    assert list(world.ask(Query("m", k=99)).item_ids)[:K] == whole
    response = world.ask(Query("m", k=2, exclude=frozenset({whole[0]})))
    assert list(response.item_ids) == whole[1:3]
    assert len(response.scores) == 2


def test_an_unknown_objective_is_not_found_and_one_that_is_not_ready_unavailable(world: World) -> None:
    with pytest.raises(NotFoundError, match="'other'"):
        world.ask(Query("other"))
    world.table.swap(ActiveModel("other", (), (), {}))
    with pytest.raises(UnavailableError):
        world.ask(Query("other"))


def test_a_model_that_recommends_nothing_says_how_to_call_it(world: World, tmp_path: Path) -> None:
    serve(world.table, load(tmp_path / "d", "d", 1, doubler()))
    with pytest.raises(NotFoundError, match="call it with ModelInfer"):
        world.ask(Query("d"))


@pytest.mark.parametrize(
    ("query", "entity", "words"),
    [
        (Query(""), "e", "objective: expected a name"),
        (Query("m", k=10_001), "e", "k: expected at most 10000, got 10001"),
        (Query("m", exclude=frozenset(map(str, range(10_001)))), "e", "exclude: expected at most 10000 items"),
        (Query("m"), "", "entity_id: expected 1 to 256 bytes"),
        (Query("m"), "x" * 257, "entity_id: expected 1 to 256 bytes"),
    ],
)
def test_a_wrong_field_is_named(world: World, query: Query, entity: str, words: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        world.ask(query, entity)
    assert str(caught.value).startswith(words)


def test_a_model_that_fails_to_run_gives_popular_items_and_is_counted(world: World, tmp_path: Path) -> None:
    serve(world.table, load_recommender(tmp_path / "bad", recommender(bad_row=19), "m", 4))
    world.remember("item-19")
    response = world.ask()
    assert (response.source, response.version) == (recommender_pb2.FROM_FALLBACK, 4)
    assert world.registry.get_sample_value("nearline_run_errors_total", {"model": "m", "version": "4"}) == 1


class AwayStore:
    """A store that cannot be reached."""

    def read_now(self, keys: Sequence[Key]) -> None:
        pass

    async def read(self, keys: Sequence[Key]) -> list[bytes | None]:
        raise StoreUnavailableError(f"away, {len(keys)} keys unread")

    async def close(self) -> None:
        """Holds nothing."""


def test_while_the_store_is_away_everybody_gets_popular_items(world: World, model: LoadedModel) -> None:
    away = World(world.writer, AwayStore(), model)
    response = away.ask()
    assert (list(response.item_ids), response.source) == (POPULAR[:K], recommender_pb2.FROM_FALLBACK)
    away.batcher.close()


def test_answers_for_many_entities_come_in_order_and_share_runs(world: World) -> None:
    world.predict(["item-7"])
    world.remember("item-1")
    entities = [ENTITY, "stranger", ENTITY]
    found = asyncio.run(world.recommender.recommend_all(Query("m", max_age_ms=1), entities))
    sources = [recommender_pb2.RecommendResponse.FromString(data).source for data in found]
    assert sources == [recommender_pb2.FROM_ONLINE, recommender_pb2.FROM_FALLBACK, recommender_pb2.FROM_ONLINE]
    sample = world.registry.get_sample_value
    assert sample("nearline_online_batch_rows_count", {"model": "m"}) == 1
    assert sample("nearline_online_batch_rows_sum", {"model": "m"}) == 2


def test_answers_are_counted_by_version_source_and_traffic(world: World) -> None:
    world.ask(Query("m", test=True))
    labels = {"model": "m", "version": "3", "source": "FROM_FALLBACK", "traffic": "test"}
    assert world.registry.get_sample_value("nearline_recommendations_total", labels) == 1


def test_no_lease_is_left_behind(world: World) -> None:
    world.remember("item-1")
    world.ask()
    assert world.model._leases == 0
