"""Recommender and GRPCInferenceService: translating messages to the use cases."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from protos.nearline.v1 import recommender_pb2 as rpb
from serving.errors import InvalidRequestError
from serving.models.table import ActiveTable
from serving.recommend.batcher import Batcher
from serving.recommend.misses import Misses
from serving.recommend.query import Query
from serving.recommend.recommend import Recommender
from serving.rpc.recommender import RecommenderService
from serving.store.connect import connect_reader
from serving.telemetry.metrics import Metrics
from tests.builders.bundles import POPULAR, load, serve
from tests.builders.buses import TOPICS, Connect
from tests.builders.graphs import K, doubler
from tests.rpc.calls import CALL, call, handler


@pytest.fixture
def table(tmp_path: Path) -> ActiveTable:
    table = ActiveTable()
    serve(table, load(tmp_path / "d", "d", 2, doubler()))
    serve(table, load(tmp_path / "m", "m", 3))
    return table


class Asked(Recommender):
    """Keeps what the use case was asked; the use case has tests of its own."""

    def __init__(self) -> None:
        self.queries: list[tuple[Query, list[str]]] = []

    async def recommend(self, query: Query, entity_id: str, deadline: float | None = None) -> bytes:
        self.queries.append((query, [entity_id]))
        self.deadline = deadline
        return rpb.RecommendResponse(item_ids=[entity_id] * 60).SerializeToString()

    async def recommend_all(
        self, query: Query, entity_ids: Sequence[str], deadline: float | None = None
    ) -> list[bytes]:
        return [await self.recommend(query, entity_id, deadline) for entity_id in entity_ids]


def test_every_field_of_a_request_reaches_the_use_case() -> None:
    asked = Asked()
    methods = RecommenderService(asked).methods()
    call(
        methods,
        "Recommend",
        rpb.RecommendRequest(
            objective="o", entity_id="e", k=3, exclude=["a", "b", "a"], max_age_ms=9, traffic=rpb.TEST
        ),
    )
    assert asked.queries == [(Query("o", 3, frozenset("ab"), 9, test=True), ["e"])]


def test_features_of_a_request_are_numbers_and_texts() -> None:
    asked = Asked()
    methods = RecommenderService(asked).methods()
    context = {"page": rpb.Feature(number=0), "device": rpb.Feature(text="")}
    call(methods, "Recommend", rpb.RecommendRequest(objective="o", entity_id="e", context=context))
    call(methods, "RecommendBatch", rpb.RecommendBatchRequest(objective="o", entity_ids=["e"], context=context))
    expected = (Query("o", context={"page": 0, "device": ""}), ["e"])
    assert asked.queries == [expected, expected]
    with pytest.raises(InvalidRequestError, match=r"^context.page: expected a number or a text, got neither$"):
        call(methods, "Recommend", rpb.RecommendRequest(objective="o", context={"page": rpb.Feature()}))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_batch_is_the_encoding_of_its_answers(count: int) -> None:
    entities = [f"entity-{i}" for i in range(count)]
    data = call(
        RecommenderService(Asked()).methods(),
        "RecommendBatch",
        rpb.RecommendBatchRequest(objective="o", entity_ids=entities),
    )
    batch = rpb.RecommendBatchResponse.FromString(data)
    assert [list(r.item_ids) for r in batch.responses] == [[entity] * 60 for entity in entities]


def test_a_batch_has_a_largest_size() -> None:
    with pytest.raises(InvalidRequestError, match=r"^entity_ids: expected at most 1000, got 1001$"):
        call(
            RecommenderService(Asked()).methods(),
            "RecommendBatch",
            rpb.RecommendBatchRequest(objective="o", entity_ids=["e"] * 1001),
        )


def test_a_recommendation_is_the_encoding_of_its_answer(table: ActiveTable, tmp_path: Path) -> None:
    async def scene() -> None:
        metrics = Metrics(CollectorRegistry())
        reader, batcher = connect_reader("lmdb", tmp_path, "t"), Batcher(metrics, 64)
        misses = Misses(Connect(tmp_path), TOPICS)
        service = RecommenderService(Recommender(table, reader, batcher, misses, metrics, lambda: 4))
        ask = handler(service.methods(), "Recommend")
        reply = rpb.RecommendResponse.FromString(await ask(rpb.RecommendRequest(objective="m", entity_id="e"), CALL))
        assert (list(reply.item_ids), reply.source) == (POPULAR[:K], rpb.FROM_FALLBACK)
        batcher.close()
        await reader.close()

    asyncio.run(scene())
