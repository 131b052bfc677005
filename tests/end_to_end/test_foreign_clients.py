"""Clients that others wrote, unchanged."""

import json
import os
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import text_format
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from protos.inference.inference_pb2 import ModelInferResponse, ModelStreamInferResponse
from publisher.api import publish
from tests.end_to_end.client import PATIENCE_S, channel_to
from tests.end_to_end.foreign.java_client import run_client
from tests.end_to_end.installation import Installation, Node
from tests.end_to_end.models import doubler, echo, publish_recommender
from tests.rpc.transports import TRANSPORTS

_TRITON = "NEARLINE_TEST_TRITON_PYTHON"
_SCRIPT = Path(__file__).parent / "foreign" / "triton_client.py"


@pytest.fixture(scope="module", params=TRANSPORTS)
def node(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    installation = Installation(tmp_path_factory.mktemp("foreign"), {"transport": request.param})
    publish("twice", doubler(), settings=installation.settings())
    publish("echo", echo(), settings=installation.settings())
    publish_recommender(installation, "shop", 1)
    with Node(installation) as started:
        yield started


def test_tritonclient_asks_for_everything_it_can(node: Node) -> None:
    python = os.environ.get(_TRITON)
    assert python, f"{_TRITON}: expected an interpreter with tritonclient[grpc]; `make test` makes one"
    done = subprocess.run(
        [python, str(_SCRIPT), node.address], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [found[name] for name in ("live", "ready", "model_ready", "version_ready", "other_ready")] == [
        True,
        True,
        True,
        True,
        False,
    ]
    assert found["server"]["name"] == "nearline"
    assert found["model"] == {
        "name": "twice",
        "versions": ["1"],
        "platform": "onnx_onnxruntime",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": ["-1", "3"]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": ["-1", "3"]}],
    }
    doubled = [[2, 4, 6], [8, 10, 12]]
    assert found["raw"] == found["typed"] == found["stream"] == doubled
    assert found["strings"] == ["one", "zwölf"]
    code, message = found["error"]
    assert code == "StatusCode.INVALID_ARGUMENT"
    assert "[-1, 3]" in message


def test_grpc_java_asks_for_everything_it_can(node: Node, tmp_path: Path) -> None:
    done = run_client(node.address, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert (found["health"], found["health_watch"], found["health_unknown"]) == ("SERVING", "SERVING", "NOT_FOUND")
    assert 'item_ids: "v1-0" item_ids: "v1-1"' in found["recommend"]
    assert (found["not_found"], found["bad_shape"]) == ("NOT_FOUND", "INVALID_ARGUMENT")
    assert all('item_ids: "v1-0"' in found[name] for name in ("metadata", "gzip"))
    assert 'model_name: "twice"' in found["infer"]
    doubled = text_format.Parse(found["infer"], ModelInferResponse()).raw_output_contents[0]
    assert struct.unpack("<3f", doubled) == (2, 4, 6)
    streamed = [text_format.Parse(line, ModelStreamInferResponse()) for line in found["stream"].splitlines()]
    assert [answer.infer_response.id for answer in streamed] == [str(number) for number in range(30)]
    assert {answer.infer_response.raw_output_contents[0] for answer in streamed} == {doubled}
    assert 'model: "shop"' in found["watch"]
    assert found["deadline"] == "DEADLINE_EXCEEDED"


def test_reflection_describes_every_service_as_grpcurl_asks(node: Node) -> None:
    with channel_to(node.address) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        names = set(database.get_services())
        assert names == {
            "grpc.health.v1.Health",
            "grpc.reflection.v1alpha.ServerReflection",
            "inference.GRPCInferenceService",
            "nearline.v1.ModelStatus",
            "nearline.v1.Recommender",
        }
        pool = DescriptorPool(database)
        infer = pool.FindServiceByName("inference.GRPCInferenceService").FindMethodByName("ModelInfer")
        assert infer.input_type.fields_by_name["raw_input_contents"].number == 7
        recommend = pool.FindServiceByName("nearline.v1.Recommender").FindMethodByName("Recommend")
        assert recommend.input_type.full_name == "nearline.v1.RecommendRequest"


@pytest.mark.parametrize(
    "service", ["", "nearline.v1.Recommender", "nearline.v1.ModelStatus", "inference.GRPCInferenceService"]
)
def test_the_health_protocol_says_serving(node: Node, service: str) -> None:
    with channel_to(node.address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        assert stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=PATIENCE_S).status == 1


def test_the_health_protocol_knows_no_other_service(node: Node) -> None:
    with channel_to(node.address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        with pytest.raises(grpc.RpcError) as raised:
            stub.Check(health_pb2.HealthCheckRequest(service="nope"), timeout=PATIENCE_S)
        assert raised.value.code() is grpc.StatusCode.NOT_FOUND
        watched = stub.Watch(health_pb2.HealthCheckRequest(service="nope"), timeout=PATIENCE_S)
        assert next(watched).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        watched.cancel()
