"""Hits without waiting: the same answer as the whole way gives, or none."""

import asyncio
import gc
import time
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from protos.nearline.v1 import recommender_pb2 as pb
from protos.partition import partition_of
from protos.records import BulkLoad, Share
from serving.errors import StoreUnavailableError
from serving.models.answers import Answer, entry
from serving.models.loaded import LoadedModel
from serving.models.places import PREDICTIONS, key_of
from serving.models.table import ActiveTable, LedgerSide
from serving.recommend.hits import Hits
from serving.recommend.query import MAX_EXCLUDED, MAX_K
from serving.recommend.ready import Ready
from serving.store.connect import connect_reader, connect_writer
from serving.store.port import Change, Cursor, Key, Slot, StoreReader
from serving.telemetry.metrics import Metrics
from tests.builders.bundles import load, serve

PARTITIONS, ENTITY = 4, "e1"
NOW_MS = time.time_ns() // 1_000_000


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load(tmp_path_factory.mktemp("bundle"), "m", 3)


class World:
    """A table and a store with one prediction."""

    def __init__(self, folder: Path, model: LoadedModel) -> None:
        self.table = ActiveTable()
        serve(self.table, model)
        self.registry = CollectorRegistry()
        self.reader = connect_reader("lmdb", folder, "t")
        self.hits = Hits(self.table, self.reader, Metrics(self.registry), lambda: PARTITIONS)
        self.writer = connect_writer("lmdb", folder, "t")
        self.message = Answer(["a", "b"], [0.5, 0.25], "m", 3, NOW_MS).message()
        shard, key = partition_of(ENTITY.encode(), PARTITIONS), ENTITY.encode()
        change = Change(PREDICTIONS + key_of(model), key, entry(self.message, NOW_MS))
        self.writer.write(shard, None, Cursor((("log", 1),)), [change])

    def ask(self, request: pb.RecommendRequest, hits: Hits | None = None) -> pb.RecommendResponse | None:
        async def asked() -> Ready | None:
            (answer,) = (hits or self.hits).answers([request.SerializeToString()])
            (hits or self.hits).count()
            return answer

        answer = asyncio.run(asked())
        return None if answer is None else pb.RecommendResponse.FromString(answer.message)


@pytest.fixture
def world(tmp_path: Path, model: LoadedModel) -> Iterator[World]:
    made = World(tmp_path, model)
    yield made
    asyncio.run(made.reader.close())
    made.writer.close()


def request(**more: object) -> pb.RecommendRequest:
    return pb.RecommendRequest(**{"objective": "m", "entity_id": ENTITY, **more})  # type: ignore[arg-type]


def test_a_fresh_prediction_is_the_answer_and_is_counted(world: World) -> None:
    for traffic in (pb.REAL, pb.TEST, pb.TEST):
        answer = world.ask(request(traffic=traffic))
        assert answer is not None
        assert (list(answer.item_ids), answer.source, answer.version) == (["a", "b"], pb.FROM_NEARLINE, 3)
    for name, count in (("real", 1), ("test", 2)):
        labels = {"model": "m", "version": "3", "source": "FROM_NEARLINE", "traffic": name}
        assert world.registry.get_sample_value("nearline_recommendations_total", labels) == count


@pytest.mark.parametrize(
    "asked",
    [
        request(k=MAX_K + 1),
        request(exclude=[str(n) for n in range(MAX_EXCLUDED + 1)]),
        request(context={"x": pb.Feature(number=1)}),
        request(entity_id="nobody"),
        request(entity_id=""),
        request(entity_id="x" * 300),
        request(objective=""),
        request(objective="no"),
        request(max_age_ms=1),
    ],
    ids=str,
)
def test_whatever_is_not_just_that_goes_the_whole_way(world: World, asked: pb.RecommendRequest) -> None:
    assert world.ask(request()) is not None
    assert world.ask(asked) is None


def test_bytes_that_are_no_request_go_the_whole_way(world: World) -> None:
    assert world.hits.answers([b"\xff"]) == [None]


def test_a_change_of_the_model_is_seen_at_once(world: World, model: LoadedModel) -> None:
    active = world.table.current["m"]
    assert world.ask(request()) is not None
    for other in (
        replace(active, shares=()),
        replace(active, bulk=BulkLoad(1, 3, model.digest, "file:///x", "0" * 64, 1, 1)),
        replace(active, ledger=LedgerSide(blocked={"a": 0})),
        replace(active, recommend=(Share(4, 1_000_000),)),
        replace(active, versions={3: LoadedModel("m", 3, "0" * 64, model.bundle, model.session, model.predictor)}),
        replace(active, versions={3: LoadedModel("m", 3, model.digest, model.bundle, model.session)}),
    ):
        world.table.swap(other)
        assert world.ask(request()) is None
    for fits in (active, replace(active, ledger=LedgerSide(blocked={"c": 0}))):
        world.table.swap(fits)
        assert world.ask(request()) is not None


class Away:
    """A reader whose store is away, or has to be waited for."""

    def __init__(self, *, waits: bool) -> None:
        self._waits = waits

    def read_now(self, keys: Sequence[Key]) -> None:
        if not self._waits:
            raise StoreUnavailableError(f"{len(keys)}")

    def slot(self, key: Key) -> Slot:
        return Slot(key.key)

    def read_slots(self, slots: Sequence[Slot]) -> None:
        self.read_now([Key(0, b"s", slot.address) for slot in slots])

    async def read(self, keys: Sequence[Key]) -> list[bytes | None]:
        return [None for _ in keys]

    async def close(self) -> None:
        pass


@pytest.mark.parametrize("waits", [True, False])
def test_a_store_that_cannot_answer_now_goes_the_whole_way(world: World, *, waits: bool) -> None:
    away: StoreReader = Away(waits=waits)
    assert world.ask(request(), Hits(world.table, away, Metrics(CollectorRegistry()), lambda: PARTITIONS)) is None


def test_requests_of_one_read_get_each_its_own_answer_or_none(world: World) -> None:
    async def asked() -> list[Ready | None]:
        entities = [ENTITY, "nobody", ENTITY, "x" * 300]
        return world.hits.answers([request(entity_id=entity).SerializeToString() for entity in entities])

    first, nobody, again, too_long = asyncio.run(asked())
    assert first is not None
    assert first is again
    assert nobody is too_long is None


def test_an_answer_is_the_same_object_until_another_is_stored_and_never_the_one_before(
    world: World, model: LoadedModel
) -> None:
    async def asked() -> Ready | None:
        return world.hits.answers([request().SerializeToString()])[0]

    first = asyncio.run(asked())
    assert asyncio.run(asked()) is first
    shard, key, space = partition_of(ENTITY.encode(), PARTITIONS), ENTITY.encode(), PREDICTIONS + key_of(model)
    newer, at = Answer(["b", "a"], [0.9, 0.1], "m", 3, NOW_MS).message(), Cursor((("log", 1),))
    world.writer.write(shard, at, Cursor((("log", 2),)), [Change(space, key, entry(newer, NOW_MS))])
    second = asyncio.run(asked())
    assert second is not None
    assert list(pb.RecommendResponse.FromString(second.message).item_ids) == ["b", "a"]
    world.writer.write(shard, Cursor((("log", 2),)), Cursor((("log", 3),)), [Change(space, key, None)])
    assert asyncio.run(asked()) is None


@pytest.mark.parametrize(
    ("asked", "items", "scores"),
    [
        (request(k=1), ["a"], [0.5]),
        (request(k=2), ["a", "b"], [0.5, 0.25]),
        (request(k=MAX_K), ["a", "b"], [0.5, 0.25]),
        (request(exclude=["a"]), ["b"], [0.25]),
        (request(exclude=["b"], k=1), ["a"], [0.5]),
        (request(exclude=["c"]), ["a", "b"], [0.5, 0.25]),
    ],
    ids=str,
)
def test_a_part_of_a_prediction_is_cut_from_it(
    world: World, asked: pb.RecommendRequest, items: list[str], scores: list[float]
) -> None:
    answer = world.ask(asked)
    assert answer is not None
    assert (list(answer.item_ids), list(answer.scores)) == (items, scores)
    assert (answer.source, answer.version, answer.computed_at_ms) == (pb.FROM_NEARLINE, 3, NOW_MS)


def test_what_was_not_stored_of_an_answer_is_asked_for_the_whole_way(tmp_path: Path, model: LoadedModel) -> None:
    made = World(tmp_path, model)
    assert model.predictor is not None
    stores_all, model.predictor.stores_all = model.predictor.stores_all, False
    try:
        assert [made.ask(request(k=k)) is not None for k in (0, 1, 2, 3)] == [False, True, True, False]
        assert made.ask(request(k=2, exclude=["a"])) is None
    finally:
        model.predictor.stores_all = stores_all
        asyncio.run(made.reader.close())
        made.writer.close()


def test_a_version_that_is_taken_away_is_kept_by_nobody_though_no_request_comes(world: World, tmp_path: Path) -> None:
    """Hits are the last that knew of it."""
    other = load(tmp_path / "other", "other", 1)
    serve(world.table, other)
    active = world.table.current["other"]
    assert world.ask(request()) is not None
    assert world.ask(request(objective="other")) is None
    gone = weakref.ref(other)
    world.table.swap(replace(active, shares=(), recommend=(), versions={}))
    del other, active
    gc.collect()
    assert gone() is None
