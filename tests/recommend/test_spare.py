"""What a worker that has too much to do answers with: the last resort of the whole way, as cheaply as a hit."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from protos.nearline.v1 import recommender_pb2 as pb
from protos.partition import partition_of
from protos.topics import Topics
from serving.bus.port import Bus
from serving.models.answers import Answer, entry
from serving.models.loaded import LoadedModel
from serving.models.places import PREDICTIONS, key_of
from serving.models.table import LedgerSide
from serving.recommend.batcher import Batcher
from serving.recommend.hits import Hits
from serving.recommend.misses import Misses
from serving.recommend.query import Query
from serving.recommend.queue import Queue
from serving.recommend.recommend import Recommender
from serving.store.port import Change
from serving.telemetry.metrics import Metrics
from tests.builders.bundles import load, serve
from tests.recommend.test_hits import ENTITY, NOW_MS, PARTITIONS, World, request

WAIT_S = 1.0
STALE = request(max_age_ms=1)


def no_bus() -> Bus:
    raise AssertionError("nothing is asked for")


class Full(World):
    """A version that has `WAIT_S` of work to do."""

    def __init__(self, folder: Path, model: LoadedModel) -> None:
        super().__init__(folder, model)
        self.registry = CollectorRegistry()
        metrics = Metrics(self.registry)
        self.batcher = Batcher(metrics, 64)
        misses = Misses(no_bus, Topics("t."))
        self.recommender = Recommender(self.table, self.reader, self.batcher, misses, metrics, lambda: PARTITIONS)
        self.hits = Hits(self.table, self.reader, metrics, lambda: PARTITIONS, self.batcher)
        self.space = PREDICTIONS + key_of(model)
        self.queue = self.batcher._queues[model] = Queue(model, self.batcher._backlog)
        self.queue.running(WAIT_S)

    def store_prediction(self, items: list[str]) -> None:
        message = Answer(items, [1.0] * len(items), "m", 3, NOW_MS).message()
        shard, key = partition_of(ENTITY.encode(), PARTITIONS), ENTITY.encode()
        cursor = self.writer.cursor(shard)
        assert cursor is not None
        self.writer.write(shard, cursor, cursor, [Change(self.space, key, entry(message, NOW_MS))])

    def spare(self, asked: pb.RecommendRequest, left_s: float | None = WAIT_S / 2) -> pb.RecommendResponse | None:
        """What a transport does."""

        async def run() -> pb.RecommendResponse | None:
            data = asked.SerializeToString()
            assert self.hits.answers([data]) == [None]
            ready = self.hits.spare(data, left_s)
            self.hits.count()
            return None if ready is None else pb.RecommendResponse.FromString(ready.message)

        return asyncio.run(run())

    def whole_way(self, asked: pb.RecommendRequest) -> pb.RecommendResponse:
        """None of these entities has a state, so that there is nothing to compute from."""
        query = Query("m", k=asked.k, exclude=frozenset(asked.exclude), max_age_ms=asked.max_age_ms, test=True)
        answer = asyncio.run(self.recommender.recommend(query, asked.entity_id))
        return pb.RecommendResponse.FromString(answer)


@pytest.fixture
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load(tmp_path_factory.mktemp("bundle"), "m", 3)


@pytest.fixture
def full(tmp_path: Path, model: LoadedModel) -> Iterator[Full]:
    made = Full(tmp_path, model)
    yield made
    made.batcher.close()
    asyncio.run(made.reader.close())
    made.writer.close()


@pytest.mark.parametrize(
    "asked",
    [
        STALE,
        request(max_age_ms=1, k=1),
        request(max_age_ms=1, exclude=["a"]),
        request(entity_id="nobody"),
        request(entity_id="nobody", k=2),
        request(entity_id="nobody", exclude=["item-1"]),
    ],
    ids=str,
)
def test_it_is_what_the_whole_way_ends_in(full: Full, asked: pb.RecommendRequest) -> None:
    spare, whole = full.spare(asked), full.whole_way(asked)
    assert spare is not None
    assert spare.source == whole.source == pb.FROM_FALLBACK
    assert spare.item_ids
    spare.computed_at_ms = whole.computed_at_ms  # of popular items: when they were put together
    assert spare == whole


def test_who_has_more_time_than_the_queue_takes_is_let_in(full: Full) -> None:
    assert full.spare(STALE, WAIT_S / 2) is not None
    assert full.spare(STALE, 2 * WAIT_S) is full.spare(STALE, None) is None
    full.queue.running(0.0)
    assert full.spare(STALE, WAIT_S / 2) is None


def test_where_no_work_is_possible_the_queue_does_not_matter(full: Full, tmp_path: Path) -> None:
    serve(full.table, load(tmp_path / "other", "other", 1))
    other = request(objective="other")
    assert full.spare(other, WAIT_S / 2) is None, "nothing is known of its queue"
    assert full.spare(other, 0.0) is not None


def test_a_fresh_prediction_is_the_answer_however_full_it_is(full: Full) -> None:
    answer = full.ask(request())
    assert answer is not None
    assert answer.source == pb.FROM_NEARLINE


def test_a_blocked_item_is_looked_for_the_whole_way(full: Full) -> None:
    active = full.table.current["m"]
    full.table.swap(replace(active, ledger=LedgerSide(blocked={"a": 0})))
    assert full.spare(STALE) is None
    full.table.swap(replace(active, ledger=LedgerSide(blocked={"c": 0})))
    assert full.spare(STALE) is not None


def test_it_is_counted_as_what_it_is(full: Full) -> None:
    for _ in range(3):
        assert full.spare(STALE) is not None
    labels = {"model": "m", "version": "3", "source": "FROM_FALLBACK", "traffic": "real"}
    assert full.registry.get_sample_value("nearline_recommendations_total", labels) == 3
    refused = {"model": "m", "reason": "overload"}
    assert full.registry.get_sample_value("nearline_online_refused_total", refused) == 3


def test_a_newer_prediction_takes_the_place_of_what_was_remembered(full: Full) -> None:
    first = full.spare(STALE)
    assert first is not None
    assert (list(first.item_ids), first.computed_at_ms) == (["a", "b"], NOW_MS)
    full.store_prediction(["b"])
    second = full.spare(STALE)
    assert second is not None
    assert list(second.item_ids) == ["b"]
