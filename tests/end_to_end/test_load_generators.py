"""Other people's load generators against a node with the transport `native`: they and the server count the same."""

import base64
import json
import shutil
import struct
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from protos.nearline.v1.recommender_pb2 import RecommendRequest
from publisher.api import publish
from tests.end_to_end.installation import Installation, Node
from tests.end_to_end.models import doubler, publish_recommender
from tests.end_to_end.waiting import wait_until
from tests.rpc.tools import tool

CALLS = 200
RECOMMEND = {"objective": "shop", "entity_id": "somebody"}
INFER = {
    "model_name": "twice",
    "inputs": [{"name": "x", "datatype": "FP32", "shape": ["1", "3"]}],
    "raw_input_contents": [base64.b64encode(struct.pack("<3f", 1, 2, 3)).decode()],
}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    installation = Installation(tmp_path_factory.mktemp("load"), {"transport": "native"})
    publish("twice", doubler(), settings=installation.settings())
    publish_recommender(installation, "shop", 1)
    with Node(installation) as started:
        yield started


def counted(node: Node, method: str) -> dict[str, int]:
    """How many calls of a method ended in each status, over all workers."""
    with urllib.request.urlopen(str(node.info["metrics"]), timeout=60) as answer:  # noqa: S310 - the node's own address
        families = list(text_string_to_metric_families(answer.read().decode()))
    return {
        sample.labels["code"]: int(sample.value)
        for family in families
        for sample in family.samples
        if sample.name == "nearline_requests_total" and sample.labels["method"] == method
    }


def wait_counted(node: Node, method: str, before: dict[str, int], **more: int) -> None:
    """The workers tell their metrics every second."""
    expected = before | {code: before.get(code, 0) + count for code, count in more.items()}
    wait_until(lambda: counted(node, method) == expected, f"{method} counted as {expected}")


def ghz(node: Node, call: str, data: dict[str, Any]) -> dict[str, Any]:
    command = [
        tool("ghz"), "--insecure", "--call", call, "--data", json.dumps(data), "--total", str(CALLS),
        "--connections", "4", "--concurrency", "16", "--disable-template-functions", "--format", "json", node.address,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


@pytest.mark.parametrize(
    ("call", "data"),
    [("nearline.v1.Recommender.Recommend", RECOMMEND), ("inference.GRPCInferenceService.ModelInfer", INFER)],
)
def test_ghz_asks_by_reflection_and_every_call_is_answered(node: Node, call: str, data: dict[str, Any]) -> None:
    method = call.rpartition(".")[2]
    before = counted(node, method)
    report = ghz(node, call, data)
    assert (report["count"], report["statusCodeDistribution"]) == (CALLS, {"OK": CALLS}), report["errorDistribution"]
    wait_counted(node, method, before, OK=CALLS)


def test_ghz_sees_the_status_of_calls_that_fail(node: Node) -> None:
    report = ghz(node, "inference.GRPCInferenceService.ModelInfer", INFER | {"model_name": "nobody"})
    assert report["statusCodeDistribution"] == {"NotFound": CALLS}


def test_h2load_counts_as_many_answers_as_the_server(node: Node, tmp_path: Path) -> None:
    program = shutil.which("h2load")
    assert program, "expected h2load; `.ci/system-packages` installs it"
    request = RecommendRequest(objective=RECOMMEND["objective"], entity_id=RECOMMEND["entity_id"]).SerializeToString()
    body = tmp_path / "body"
    body.write_bytes(struct.pack(">BI", 0, len(request)) + request)
    before = counted(node, "Recommend")
    command = [
        program, f"--requests={CALLS}", "--clients=4", "--max-concurrent-streams=8", f"--data={body}",
        "--header=content-type: application/grpc", "--header=te: trailers",
        f"http://{node.address}/nearline.v1.Recommender/Recommend",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert f"{CALLS} total, {CALLS} started, {CALLS} done, {CALLS} succeeded, 0 failed, 0 errored, 0 timeout" in said
    assert f"status codes: {CALLS} 2xx" in said
    wait_counted(node, "Recommend", before, OK=CALLS)  # h2load does not look at grpc-status
