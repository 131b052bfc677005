"""Clients that others wrote, unchanged."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from publisher.api import publish
from tests.end_to_end.client import channel_to
from tests.end_to_end.installation import Installation, Node
from tests.end_to_end.models import doubler, echo

_TRITON = "NEARLINE_TEST_TRITON_PYTHON"
_SCRIPT = Path(__file__).parent / "foreign" / "triton_client.py"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    installation = Installation(tmp_path_factory.mktemp("foreign"))
    publish("twice", doubler(), settings=installation.settings())
    publish("echo", echo(), settings=installation.settings())
    with Node(installation) as started:
        yield started


def test_tritonclient_asks_for_everything_it_can(node: Node) -> None:
    python = os.environ.get(_TRITON)
    assert python, f"{_TRITON}: expected an interpreter with tritonclient[grpc]; `make test` makes one"
    done = subprocess.run([python, str(_SCRIPT), node.address], capture_output=True, text=True, timeout=60, check=False)
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
        assert stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=5).status == 1


def test_the_health_protocol_knows_no_other_service(node: Node) -> None:
    with channel_to(node.address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        with pytest.raises(grpc.RpcError) as raised:
            stub.Check(health_pb2.HealthCheckRequest(service="nope"), timeout=5)
        assert raised.value.code() is grpc.StatusCode.NOT_FOUND
        watched = stub.Watch(health_pb2.HealthCheckRequest(service="nope"), timeout=5)
        assert next(watched).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        watched.cancel()
