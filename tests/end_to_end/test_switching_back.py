"""A version that goes wrong while it serves: what clients get meanwhile, and the way back to the version before."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from protos.inference import inference_pb2, inference_pb2_grpc
from publisher.api import publish
from serving.recipes.event import encode_event
from tests.end_to_end.client import FALLBACK, NEARLINE, ONLINE, PATIENCE_S, channel_to, recommend, wait_for_version
from tests.end_to_end.installation import Installation, Node
from tests.end_to_end.models import ITEMS, K, doubler, recommender
from tests.end_to_end.waiting import wait_until

CATALOGUE = [f"i{row}" for row in range(ITEMS)]
FAILURES = 5
GOOD, BAD = "i3", "i7"
"""An item that both versions know what to do with, and one whose scores are no numbers in version 2."""


@pytest.fixture
def shop(tmp_path: Path) -> Installation:
    """One worker of each role, so that it is known who is asked."""
    return Installation(tmp_path, {"workers": "1", "circuit_failures": str(FAILURES)})


def poisoned() -> onnx.ModelProto:
    """NaN for whoever has BAD among the last items; the samples have not."""
    graph = recommender(2)
    weights = next(tensor for tensor in graph.graph.initializer if tensor.name == "similar")
    similar = numpy_helper.to_array(weights).copy()
    similar[CATALOGUE.index(BAD)] = np.nan
    weights.CopyFrom(numpy_helper.from_array(similar, "similar"))
    return graph


def happen(shop: Installation, item: str, *entities: str) -> None:
    """Somebody did something with an item."""
    bus = shop.bus()
    bus.append_many(shop.settings().topics.events.name, [encode_event(who, {"item": item}) for who in entities])
    bus.close()


def publish_shop(shop: Installation, version: int, graph: onnx.ModelProto) -> None:
    publish("shop", graph, items=CATALOGUE, version=version, settings=shop.settings())
    shop.wait_for_state("shop", version, {"READY"}, 2)


def states(shop: Installation, model: str) -> Mapping[str, tuple[str, str]]:
    """State, and kind of error, of version 2 in each worker."""
    found = shop.instances(model, 2)
    return {who: (one["state"], (one["error"] or {"kind": ""})["kind"]) for who, one in found.items()}


@pytest.mark.timeout(180)
def test_recommend_falls_back_meanwhile_and_each_worker_switches_back_by_what_it_saw_itself(shop: Installation) -> None:
    with Node(shop) as node:
        publish_shop(shop, 1, recommender(1))
        publish_shop(shop, 2, poisoned())
        wait_for_version(node.address, "shop", 2, "nobody")
        pids = shop.pids()
        happen(shop, GOOD, "ann")
        wait_until(lambda: recommend(node.address, "shop", "ann").source == NEARLINE, "ann's prediction")

        # Near-line is first to meet them: what it cannot compute is not stored.
        happen(shop, BAD, *(f"e{n}" for n in range(FAILURES - 1)))
        wait_until(lambda: node.metric("nearline_run_errors_total") >= FAILURES - 1, "rows that failed are counted")
        online = recommend(node.address, "shop", "e0")
        assert (online.version, online.source) == (2, FALLBACK)
        assert len(online.item_ids) == K
        assert recommend(node.address, "shop", "ann").source == NEARLINE, "what can be computed still is"

        happen(shop, BAD, "one-more")
        wait_until(lambda: states(shop, "shop")["one/nearline-0"] == ("REJECTED", "RUN"), "near-line switches back")
        assert states(shop, "shop")["one/serving-0"] == ("READY", ""), "which has seen but one of them"

        def asked() -> bool:
            answer = recommend(node.address, "shop", "e1")
            assert np.isfinite(answer.scores).all()
            return answer.version == 1

        wait_until(asked, "it switches back, too")
        wait_until(lambda: states(shop, "shop")["one/serving-0"] == ("REJECTED", "RUN"), "and says so")
        message = shop.instances("shop", 2)["one/serving-0"]["error"]["message"]
        assert f"{FAILURES} of " in message
        assert "expected finite numbers, got NaN or Inf" in message

        def all_answered() -> bool:
            answers = [recommend(node.address, "shop", entity) for entity in ("ann", "e0", "one-more")]
            return all(answer.version == 1 and answer.source in {NEARLINE, ONLINE} for answer in answers)

        wait_until(all_answered, "predictions of version 1 for everybody")
        assert shop.pids() == pids

    with Node(shop) as node:
        shop.wait_for_state("shop", 2, {"REJECTED"}, 2)
        assert recommend(node.address, "shop", "ann").version == 1, "it stays so over a restart"


def logarithm() -> onnx.ModelProto:
    """x float [batch, 3] → y = log x: good for its samples, and no number below 0."""
    graph = doubler()
    graph.graph.node[0].CopyFrom(onnx.helper.make_node("Log", ["x"], ["y"]))
    del graph.graph.initializer[:]
    return graph


def infer(node: Node, value: float) -> inference_pb2.ModelInferResponse:
    """Ask for a row of that value."""
    tensor = inference_pb2.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=[1, 3])
    raw = np.full((1, 3), value, np.float32).tobytes()
    request = inference_pb2.ModelInferRequest(model_name="log", inputs=[tensor], raw_input_contents=[raw])
    with channel_to(node.address) as channel:
        stub: Any = inference_pb2_grpc.GRPCInferenceServiceStub(channel)
        answer: inference_pb2.ModelInferResponse = stub.ModelInfer(request, timeout=PATIENCE_S, wait_for_ready=True)
    return answer


def test_model_infer_is_told_which_output_is_no_number_until_the_version_before_answers(shop: Installation) -> None:
    with Node(shop) as node:
        for version, graph in ((1, doubler()), (2, logarithm())):
            publish("log", graph, samples=np.ones((4, 3), np.float32), version=version, settings=shop.settings())
            shop.wait_for_state("log", version, {"READY"}, 2)
        wait_until(lambda: infer(node, 1).model_version == "2", "version 2 answers")
        for _ in range(FAILURES):
            with pytest.raises(grpc.RpcError) as refused:
                infer(node, -1)
            assert refused.value.code() is grpc.StatusCode.INTERNAL
            assert "output 'y': expected finite numbers, got NaN or Inf" in refused.value.details()

        wait_until(lambda: infer(node, 1).model_version == "1", "the version before answers")
        assert np.frombuffer(infer(node, -1).raw_output_contents[0], np.float32).tolist() == [-2.0] * 3
        wait_until(lambda: states(shop, "log")["one/serving-0"] == ("REJECTED", "RUN"), "it is reported")
