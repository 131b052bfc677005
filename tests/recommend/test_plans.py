"""What hits remember: bounded in number and in bytes, and what is asked for often stays."""

import asyncio
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from protos.nearline.v1 import recommender_pb2 as pb
from protos.partition import partition_of
from serving.models.answers import Answer, entry
from serving.models.loaded import LoadedModel
from serving.models.places import PREDICTIONS, key_of
from serving.models.table import ActiveTable
from serving.recommend.hits import Hits
from serving.recommend.ready import Ready
from serving.rpc.native.answers import pieces
from serving.store.connect import connect_reader, connect_writer
from serving.store.port import Change, Cursor
from serving.telemetry.metrics import Metrics
from tests.builders.bundles import load, serve

PARTITIONS, ENTITY = 4, "e1"
SHARD = partition_of(ENTITY.encode(), PARTITIONS)
NOW_MS = time.time_ns() // 1_000_000


class World:
    """One entity with a prediction, for which requests ask that differ in the greatest age of their answer."""

    def __init__(self, folder: Path, model: LoadedModel) -> None:
        table = ActiveTable()
        serve(table, model)
        self.reader = connect_reader("lmdb", folder, "t")
        self.hits = Hits(table, self.reader, Metrics(CollectorRegistry()), lambda: PARTITIONS)
        self.writer = connect_writer("lmdb", folder, "t")
        self.space = PREDICTIONS + key_of(model)

    def predict(self, count: int) -> None:
        """A prediction of so many items."""
        items = [f"item-{number}" for number in range(count)]
        message = Answer(items, [0.5] * count, "m", 3, NOW_MS).message()
        before = self.writer.cursor(SHARD)
        after = Cursor((("log", (before.offset("log") or 0) + 1 if before else 1),))
        self.writer.write(SHARD, before, after, [Change(self.space, ENTITY.encode(), entry(message, NOW_MS))])

    async def ask(self, *numbers: int) -> list[Ready]:
        """The answers to so many requests of one read, and what a transport makes of them."""
        found = self.hits.answers([request(number) for number in numbers])
        answers = [ready for ready in found if ready is not None]
        assert len(answers) == len(numbers)
        for ready in answers:
            ready.carried = ready.carried or pieces(ready.message)
        return answers


def request(number: int) -> bytes:
    return pb.RecommendRequest(objective="m", entity_id=ENTITY, max_age_ms=1_000_000_000 + number).SerializeToString()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load(tmp_path_factory.mktemp("bundle"), "m", 3)


@pytest.fixture
def world(tmp_path: Path, model: LoadedModel) -> Iterator[World]:
    made = World(tmp_path, model)
    yield made
    asyncio.run(made.reader.close())
    made.writer.close()


def bound(monkeypatch: pytest.MonkeyPatch, **to: int) -> None:
    for name, value in to.items():
        monkeypatch.setattr(f"serving.recommend.plans.{name}", value)


def test_more_requests_than_are_remembered_are_answered_all_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound(monkeypatch, _PLANS=4)
    world.predict(2)
    asyncio.run(world.ask(*range(9), *range(9)))
    assert 2 <= len(world.hits._plans) <= 4


@pytest.mark.parametrize("bounds", [{"_PLANS": 4}, {"_BYTES": 16_000}], ids=str)
def test_what_is_asked_for_again_and_again_stays_and_what_is_not_goes(
    world: World, monkeypatch: pytest.MonkeyPatch, bounds: dict[str, int]
) -> None:
    bound(monkeypatch, **bounds)
    world.predict(2)

    async def scene() -> None:
        (first,) = await world.ask(0)
        (often,) = await world.ask(1)
        for number in range(2, 40):
            assert (await world.ask(number, 1))[1] is often
        assert (await world.ask(0))[0] is not first

    asyncio.run(scene())


@pytest.mark.parametrize("grows", [False, True])
def test_what_is_remembered_takes_no_more_memory_than_it_may(
    world: World, monkeypatch: pytest.MonkeyPatch, *, grows: bool
) -> None:
    """Also where the answers grow after they were remembered."""
    most = 1 << 20
    bound(monkeypatch, _BYTES=most)
    world.predict(1 if grows else 1_000)

    async def scene() -> int:
        await world.ask(0)
        if grows:
            await world.ask(*range(100))
            world.predict(1_000)
        before, _ = tracemalloc.get_traced_memory()
        for number in range(100):
            await world.ask(number)
        after, _ = tracemalloc.get_traced_memory()
        return after - before

    tracemalloc.start()
    try:
        taken = asyncio.run(scene())
    finally:
        tracemalloc.stop()
    assert most / 4 < taken < most * 1.1
    assert len(world.hits._plans) < 100


def test_one_answer_that_is_larger_than_all_may_be_is_given_and_not_kept_for_long(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound(monkeypatch, _BYTES=10_000)
    world.predict(1_000)

    async def scene() -> None:
        for number in range(5):
            first, again = await world.ask(number, number)
            assert first is again
        assert len(world.hits._plans) <= 2

    asyncio.run(scene())
