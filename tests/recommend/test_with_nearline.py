"""What Recommend answers while a near-line worker computes beside it, from the same store."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from protos.commands import Erase
from protos.nearline.v1 import recommender_pb2
from serving.models.loaded import LoadedModel
from serving.recommend.batcher import Batcher
from serving.recommend.misses import Misses
from serving.recommend.query import Query
from serving.recommend.recommend import Recommender
from serving.telemetry.metrics import Metrics
from tests.builders.bundles import POPULAR, load, load_recommender
from tests.builders.buses import TOPICS
from tests.builders.folders import quick_folder
from tests.builders.graphs import K, recommender
from tests.builders.nearline import SHARDS, Rig, rig
from tests.builders.truth import check_drained
from tests.builders.waiting import wait_until
from tests.store.stores import Store

NEARLINE, ONLINE = recommender_pb2.FROM_NEARLINE, recommender_pb2.FROM_ONLINE
FALLBACK = recommender_pb2.FROM_FALLBACK


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load_recommender(tmp_path_factory.mktemp("bundle"), recommender(step=2), "m", 2)


class Both:
    """A near-line worker, and Recommend over the same table and store."""

    def __init__(self, r: Rig, store: Store) -> None:
        self.r, self.store = r, store
        self.misses = Misses(r.connect, TOPICS)

    def ask(self, entity: str, query: Query | None = None) -> recommender_pb2.RecommendResponse:
        async def ask() -> bytes:
            metrics = Metrics(CollectorRegistry())
            batcher, reader = Batcher(metrics, 64), self.store.reader()
            try:
                made = Recommender(self.r.made.table, reader, batcher, self.misses, metrics, lambda: SHARDS)
                return await made.recommend(query or Query("m"), entity)
            finally:
                batcher.close()
                await reader.close()

        return recommender_pb2.RecommendResponse.FromString(asyncio.run(ask()))


@contextmanager
def both(store: Store) -> Iterator[Both]:
    with rig(store) as r:
        yield Both(r, store)


def test_after_an_event_the_answer_is_the_prediction_of_it(store: Store, model: LoadedModel) -> None:
    with both(store) as b:
        b.r.serve(model)
        b.r.happen("a", "item-1")
        b.r.catch_up()
        response = b.ask("a")
        assert (list(response.item_ids), response.source) == (["item-2", "item-3", "item-0"], NEARLINE)


def test_a_rollback_serves_no_stale_prediction(store: Store, model: LoadedModel, second: LoadedModel) -> None:
    with both(store) as b:
        b.r.serve(model)
        for entity in ("changed", "same"):
            b.r.happen(entity, "item-1", 1)
        b.r.settle()
        b.r.serve(second)
        b.r.settle()
        b.r.happen("changed", "item-5", 2)
        b.r.settle()
        b.r.serve(model)  # nothing was computed yet
        changed, same = b.ask("changed"), b.ask("same")
        assert (list(changed.item_ids), changed.source) == (["item-2", "item-6", "item-3"], ONLINE)
        assert (list(same.item_ids), same.source) == (["item-2", "item-3", "item-0"], NEARLINE)
        b.r.settle()
        again = b.ask("changed")
        assert (list(again.item_ids), again.source) == (list(changed.item_ids), NEARLINE)


def test_a_miss_is_a_hit_once_it_was_asked_for(store: Store, model: LoadedModel, second: LoadedModel) -> None:
    with both(store) as b:
        b.r.happen("a", "item-1")
        b.r.catch_up()
        b.r.serve(second, model, shares={2: 0, 1: 1_000_000})
        b.r.slow(model)  # what is due waits, to be seen
        assert b.ask("a").source == ONLINE
        b.misses.start()
        wait_until(lambda: sum(b.r.bus.end_offsets(TOPICS.commands.name).values()))
        b.misses.stop()
        b.r.settle()
        assert (b.ask("a").source, b.r.made.counted("recomputes")) == (NEARLINE, 1)


def test_who_was_erased_is_a_stranger(store: Store, model: LoadedModel) -> None:
    with both(store) as b:
        b.r.serve(model)
        b.r.happen("a", "item-1")
        b.r.settle()
        b.r.order(Erase(b"a").encode())
        b.r.settle()
        response = b.ask("a")
        assert (list(response.item_ids), response.source) == (POPULAR[:K], FALLBACK)


@settings(max_examples=20)
@given(st.lists(st.lists(st.tuples(st.integers(0, 21), st.integers(0, 50)), min_size=1, max_size=6), max_size=4))
def test_what_near_line_computed_is_what_online_says(model: LoadedModel, batches: list[list[tuple[int, int]]]) -> None:
    """Rows 20 and 21 are no items of the catalogue."""
    with quick_folder() as folder, both(Store("lmdb", folder, "t")) as b:
        b.r.serve(model)
        for batch in batches:
            for row, ts in batch:
                b.r.happen("a", f"item-{row}", ts)
            b.r.settle()
            stored, computed = b.ask("a"), b.ask("a", Query("m", context={}, max_age_ms=1))
            if stored.source != FALLBACK and computed.source == ONLINE:
                assert list(stored.item_ids) == list(computed.item_ids)
                assert list(stored.scores) == list(computed.scores)
            else:
                assert (stored.source, computed.source) in {(FALLBACK, FALLBACK), (NEARLINE, NEARLINE)}
        check_drained(b.r, [model])
