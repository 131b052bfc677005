"""Answers that were computed elsewhere, and items that must not be shown, as `Recommend` gives them."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from protos.nearline.v1 import recommender_pb2
from protos.partition import partition_of
from protos.records import MILLION, BulkLoad, Share
from serving.bus.connect import connect_bus
from serving.models.answers import Answer, entry
from serving.models.loaded import LoadedModel
from serving.models.places import PREDICTIONS, bulk_space, key_of
from serving.models.table import ActiveModel, ActiveTable, LedgerSide
from serving.recommend.batcher import Batcher
from serving.recommend.misses import Misses
from serving.recommend.query import Query
from serving.recommend.recommend import Recommender
from serving.settings import Settings
from serving.store.connect import connect_reader, connect_writer
from serving.store.port import Change, Cursor, StoreWriter
from serving.telemetry.metrics import Metrics
from tests.builders.bundles import POPULAR, load
from tests.builders.buses import TOPICS

PARTITIONS = 4
ENTITY = b"e1"
SHARD = partition_of(ENTITY, PARTITIONS)
NEARLINE, FALLBACK = recommender_pb2.FROM_NEARLINE, recommender_pb2.FROM_FALLBACK


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load(tmp_path_factory.mktemp("bundle"), "m", 3)


class Scene:
    def __init__(self, folder: Path, writer: StoreWriter, model: LoadedModel) -> None:
        self.folder, self.writer, self.model = folder, writer, model
        self.load = BulkLoad(1, model.version, model.digest, "uri", "a" * 64, 1, 1)
        self.table = ActiveTable()
        self.serve(self.load)

    def serve(self, bulk: BulkLoad | None, **blocked: int) -> None:
        share = (Share(self.model.version, MILLION),)
        side = LedgerSide(blocked={name.replace("_", "-"): until_ms for name, until_ms in blocked.items()})
        versions = {self.model.version: self.model}
        self.table.swap(ActiveModel("m", share, share, versions, ledger=side, bulk=bulk))

    def put(self, space: bytes, items: Sequence[str], at_ms: int) -> None:
        answer = Answer(items, [1.0 / (rank + 1) for rank in range(len(items))], "m", 3, at_ms)
        cursor = self.writer.cursor(SHARD)
        change = Change(space, ENTITY, entry(answer.message(), at_ms))
        self.writer.write(SHARD, cursor, cursor or Cursor((("log", 1),)), [change])

    def imported(self, *items: str, at_ms: int = 100) -> None:
        self.put(bulk_space("m", self.load), items, at_ms)

    def computed(self, *items: str, at_ms: int = 100) -> None:
        self.put(PREDICTIONS + key_of(self.model), items, at_ms)

    def ask(self, k: int = 0) -> tuple[int, list[str]]:
        async def ask() -> bytes:
            metrics = Metrics(CollectorRegistry())
            reader = connect_reader("lmdb", self.folder, "t")
            misses = Misses(lambda: connect_bus(Settings(data_dir=self.folder)), TOPICS)
            recommender = Recommender(self.table, reader, Batcher(metrics, 64), misses, metrics, lambda: PARTITIONS)
            try:
                return await recommender.recommend(Query("m", k=k), ENTITY.decode())
            finally:
                await reader.close()

        said = recommender_pb2.RecommendResponse.FromString(asyncio.run(ask()))
        assert (said.model, said.version) == ("m", 3)
        return said.source, list(said.item_ids)


@pytest.fixture
def scene(model: LoadedModel, tmp_path: Path) -> Iterator[Scene]:
    writer = connect_writer("lmdb", tmp_path, "t")
    yield Scene(tmp_path, writer, model)
    writer.close()


def test_a_loaded_prediction_is_a_hit(scene: Scene) -> None:
    scene.imported("item-1")
    assert scene.ask() == (NEARLINE, ["item-1"])


def test_of_a_loaded_and_a_computed_prediction_the_later_wins(scene: Scene) -> None:
    scene.imported("item-1", at_ms=100)
    scene.computed("item-2", "item-3", "item-4", at_ms=99)
    assert scene.ask() == (NEARLINE, ["item-1"])
    scene.computed("item-2", "item-3", "item-4", at_ms=100)
    assert scene.ask() == (NEARLINE, ["item-2", "item-3", "item-4"])


def test_a_load_that_is_not_seen_is_not_looked_at(scene: Scene) -> None:
    scene.imported("item-1")
    scene.serve(None)
    assert scene.ask() == (FALLBACK, POPULAR[:3])


@pytest.mark.parametrize("other", [{"version": 2}, {"digest": "0" * 64}])
def test_a_load_of_another_version_is_not_looked_at(scene: Scene, other: dict[str, str | int]) -> None:
    fields = {"number": 1, "version": 3, "digest": scene.model.digest, "uri": "uri", "sha256": "a" * 64} | other
    scene.load = BulkLoad(**fields, size=1, rows=1)  # type: ignore[arg-type]
    scene.imported("item-1")
    scene.serve(scene.load)
    assert scene.ask() == (FALLBACK, POPULAR[:3])


def test_a_loaded_list_is_all_that_there_is(scene: Scene) -> None:
    scene.imported("item-1", "item-2")
    assert scene.ask(k=5) == (NEARLINE, ["item-1", "item-2"])
    assert scene.ask(k=1) == (NEARLINE, ["item-1"])


def test_blocked_items_are_in_no_answer(scene: Scene) -> None:
    scene.imported("item-1", "item-2")
    scene.serve(scene.load, item_1=0, item_10=0)
    assert scene.ask() == (NEARLINE, ["item-2"])
    assert scene.ask(k=1) == (NEARLINE, ["item-2"])
    scene.serve(None, item_10=0)
    assert scene.ask() == (FALLBACK, POPULAR[1:4])


def test_an_item_whose_time_is_over_is_shown_again_without_a_swap(scene: Scene) -> None:
    scene.imported("item-1", "item-2")
    scene.serve(scene.load, item_1=1)
    assert scene.ask() == (NEARLINE, ["item-1", "item-2"])


def test_an_answer_with_nothing_left_is_empty_rather_than_wrong(scene: Scene) -> None:
    scene.imported("item-1")
    scene.serve(scene.load, item_1=0)
    assert scene.ask() == (NEARLINE, [])
