"""Requests that cannot be answered: the right gRPC code, the field, what was expected and what came."""

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from protos.inference import inference_pb2, inference_pb2_grpc
from protos.nearline.v1 import recommender_pb2, recommender_pb2_grpc
from publisher.api import publish
from tests.end_to_end.client import PATIENCE_S, channel_to
from tests.end_to_end.installation import Installation, Node
from tests.end_to_end.models import doubler, publish_recommender

Ask = Callable[[], Any]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """What is refused, is refused before bus and store: one installation is enough."""
    installation = Installation(tmp_path_factory.mktemp("requests"))
    publish("twice", doubler(), settings=installation.settings())
    publish_recommender(installation, "shop", 1)
    with Node(installation) as node:
        yield node.address


def recommending(address: str, **fields: Any) -> Any:
    with channel_to(address) as channel:
        stub: Any = recommender_pb2_grpc.RecommenderStub(channel)
        return stub.Recommend(recommender_pb2.RecommendRequest(**fields), timeout=PATIENCE_S)


def inferring(address: str, model: str = "twice", version: str = "", **tensor: Any) -> Any:
    given = {"name": "x", "datatype": "FP32", "shape": [1, 3], **tensor}
    contents = given.pop("contents", {"fp32_contents": [1.0, 2.0, 3.0]})
    request = inference_pb2.ModelInferRequest(
        model_name=model,
        model_version=version,
        inputs=[inference_pb2.ModelInferRequest.InferInputTensor(contents=contents, **given)],
    )
    with channel_to(address) as channel:
        stub: Any = inference_pb2_grpc.GRPCInferenceServiceStub(channel)
        return stub.ModelInfer(request, timeout=PATIENCE_S)


def test_a_good_request_is_answered(address: str) -> None:
    answer = inferring(address)
    assert (answer.model_name, answer.model_version) == ("twice", "1")
    assert answer.outputs[0].datatype == "FP32"
    assert list(answer.outputs[0].shape) == [1, 3]


@pytest.mark.parametrize(
    ("fields", "code", "words"),
    [
        ({"objective": "nope", "entity_id": "a"}, grpc.StatusCode.NOT_FOUND, "model 'nope'"),
        ({"objective": "", "entity_id": "a"}, grpc.StatusCode.INVALID_ARGUMENT, "objective: expected"),
        ({"objective": "shop", "entity_id": ""}, grpc.StatusCode.INVALID_ARGUMENT, "entity_id: expected"),
        ({"objective": "shop", "entity_id": "x" * 257}, grpc.StatusCode.INVALID_ARGUMENT, "entity_id: expected"),
        ({"objective": "shop", "entity_id": "a", "k": 10_001}, grpc.StatusCode.INVALID_ARGUMENT, "k: expected"),
        (
            {"objective": "shop", "entity_id": "a", "exclude": [f"i{n}" for n in range(10_001)]},
            grpc.StatusCode.INVALID_ARGUMENT,
            "exclude: expected",
        ),
        ({"objective": "twice", "entity_id": "a"}, grpc.StatusCode.NOT_FOUND, "twice"),
        (
            {"objective": "shop", "entity_id": "a", "exclude": ["i" * 5_000_000]},
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "",
        ),
    ],
)
def test_a_bad_recommend_says_what_is_wrong(
    address: str, fields: dict[str, Any], code: grpc.StatusCode, words: str
) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        recommending(address, **fields)
    assert (raised.value.code(), words in raised.value.details()) == (code, True), raised.value.details()


@pytest.mark.parametrize(
    ("tensor", "code", "words"),
    [
        ({"model": "nope"}, grpc.StatusCode.NOT_FOUND, "model 'nope'"),
        ({"version": "9"}, grpc.StatusCode.NOT_FOUND, "9"),
        ({"version": "one"}, grpc.StatusCode.INVALID_ARGUMENT, "model_version: expected"),
        ({"name": "z"}, grpc.StatusCode.INVALID_ARGUMENT, "inputs: expected"),
        (
            {"datatype": "INT64", "contents": {"int64_contents": [1, 2, 3]}},
            grpc.StatusCode.INVALID_ARGUMENT,
            "datatype FP32",
        ),
        ({"shape": [3]}, grpc.StatusCode.INVALID_ARGUMENT, "shape [-1, 3]"),
        ({"shape": [1, 4]}, grpc.StatusCode.INVALID_ARGUMENT, "x"),
        ({"shape": [1 << 40, 3]}, grpc.StatusCode.INVALID_ARGUMENT, "x"),
        ({"shape": [-1, 3]}, grpc.StatusCode.INVALID_ARGUMENT, "x"),
        ({"datatype": "FP99"}, grpc.StatusCode.INVALID_ARGUMENT, "FP99"),
        (
            {"shape": [2_000_000, 3], "contents": {"fp32_contents": [0.0] * 6_000_000}},
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "",
        ),
    ],
)
def test_a_bad_model_infer_says_what_is_wrong(
    address: str, tensor: dict[str, Any], code: grpc.StatusCode, words: str
) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        inferring(address, **tensor)
    assert (raised.value.code(), words in raised.value.details()) == (code, True), raised.value.details()
    assert list(inferring(address).outputs[0].shape) == [1, 3], "others are not disturbed"


def test_bytes_that_are_no_message_are_refused(address: str) -> None:
    with channel_to(address) as channel:
        call: Any = channel.unary_unary("/nearline.v1.Recommender/Recommend")
        with pytest.raises(grpc.RpcError) as raised:
            call(b"\xff\xff\xff", timeout=PATIENCE_S)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_an_unknown_method_is_unimplemented(address: str) -> None:
    with channel_to(address) as channel:
        call: Any = channel.unary_unary("/nearline.v1.Recommender/Divine")
        with pytest.raises(grpc.RpcError) as raised:
            call(b"", timeout=PATIENCE_S)
    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
