"""Recommender and GRPCInferenceService: translating messages to the use cases."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from protos.inference import inference_pb2 as pb
from protos.nearline.v1 import recommender_pb2 as rpb
from serving.errors import InvalidRequestError, NotFoundError
from serving.models.table import ActiveTable
from serving.recommend.batcher import Batcher
from serving.recommend.infer import Inference
from serving.recommend.misses import Misses
from serving.recommend.query import Query
from serving.recommend.recommend import Recommender
from serving.rpc.inference import InferenceService
from serving.rpc.recommender import RecommenderService
from serving.store.connect import connect_reader
from serving.telemetry.metrics import Metrics
from tests.builders.bundles import POPULAR, load, serve
from tests.builders.buses import TOPICS, Connect
from tests.builders.graphs import K, doubler
from tests.rpc.calls import CALL, call, handler, stream


@pytest.fixture
def table(tmp_path: Path) -> ActiveTable:
    table = ActiveTable()
    serve(table, load(tmp_path / "d", "d", 2, doubler()))
    serve(table, load(tmp_path / "m", "m", 3))
    return table


@asynccontextmanager
async def inference(table: ActiveTable, *, ready: bool = True) -> AsyncIterator[Any]:
    batcher = Batcher(Metrics(CollectorRegistry()), 64)
    service = InferenceService(Inference(table, batcher), lambda: ready, "1.2.3")
    yield lambda name, request: handler(service.methods(), name)(request, CALL)
    batcher.close()


def request(model: str = "d", version: str = "", *rows: float, width: int = 2) -> pb.ModelInferRequest:
    data = np.array([[row] * width for row in rows or (1,)], np.float32)
    made = pb.ModelInferRequest(model_name=model, model_version=version, id="7", raw_input_contents=[data.tobytes()])
    made.inputs.add(name="x", datatype="FP32", shape=data.shape)
    return made


def test_a_model_is_run_and_the_answer_says_by_which_version(table: ActiveTable) -> None:
    async def scene() -> None:
        async with inference(table) as ask:
            reply = await ask("ModelInfer", request("d", "", 1, 2))
        assert (reply.model_name, reply.model_version, reply.id) == ("d", "2", "7")
        assert np.frombuffer(reply.raw_output_contents[0], np.float32).tolist() == [2, 2, 4, 4]
        assert (reply.outputs[0].name, reply.outputs[0].datatype, list(reply.outputs[0].shape)) == ("y", "FP32", [2, 2])

    asyncio.run(scene())


def test_a_stream_answers_each_request_in_order_and_survives_bad_ones(table: ActiveTable) -> None:
    async def scene() -> None:
        async with inference(table) as ask:
            requests = stream(request("d", "", 1), request("no"), request("d", "x"), request("d", "", 3))
            replies = [reply async for reply in ask("ModelStreamInfer", requests)]
        assert [bool(reply.error_message) for reply in replies] == [False, True, True, False]
        assert replies[1].infer_response.id == "7"
        assert "'no'" in replies[1].error_message

    asyncio.run(scene())


@pytest.mark.parametrize("version", ["0", "-1", "x", "1.0", "9" * 20, "²", " 1"])
def test_a_version_is_a_positive_number(version: str, table: ActiveTable) -> None:
    async def scene() -> None:
        async with inference(table) as ask:
            with pytest.raises(InvalidRequestError, match=r"^model_version: expected a positive integer"):
                await ask("ModelInfer", request("d", version))

    asyncio.run(scene())


def test_metadata_and_readiness(table: ActiveTable) -> None:
    async def scene() -> None:
        async with inference(table) as ask:
            metadata = await ask("ModelMetadata", pb.ModelMetadataRequest(name="d"))
            assert (metadata.name, list(metadata.versions), metadata.platform) == ("d", ["2"], "onnx_onnxruntime")
            assert [(t.name, t.datatype, list(t.shape)) for t in metadata.inputs] == [("x", "FP32", [-1, 2])]
            for name, version, ready in (("d", "", True), ("d", "2", True), ("d", "1", False), ("no", "", False)):
                reply = await ask("ModelReady", pb.ModelReadyRequest(name=name, version=version))
                assert reply.ready is ready
            with pytest.raises(NotFoundError):
                await ask("ModelMetadata", pb.ModelMetadataRequest(name="no"))
            assert (await ask("ServerLive", pb.ServerLiveRequest())).live
            assert (await ask("ServerReady", pb.ServerReadyRequest())).ready
            assert (await ask("ServerMetadata", pb.ServerMetadataRequest())).version == "1.2.3"
        async with inference(table, ready=False) as ask:
            assert not (await ask("ServerReady", pb.ServerReadyRequest())).ready

    asyncio.run(scene())


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
