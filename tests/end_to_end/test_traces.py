"""Traces of a whole node at a real collector: requests below their clients' spans, and their stages below them."""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from protos.inference import inference_pb2, inference_pb2_grpc
from protos.nearline.v1 import recommender_pb2, recommender_pb2_grpc
from publisher.api import publish
from tests.end_to_end.client import FALLBACK, NEARLINE, ONLINE, PATIENCE_S, channel_to, recommend
from tests.end_to_end.installation import Installation, Node
from tests.end_to_end.models import doubler, publish_recommender
from tests.end_to_end.waiting import wait_until
from tests.rpc.transports import TRANSPORTS
from tests.telemetry.collector import Collector, attributes, collecting

PARENT = "b7ad6b7169203331"
RECOMMEND = "nearline.v1.Recommender/Recommend"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as made:
        yield made


@pytest.fixture(scope="module")
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as made:
        yield made


@pytest.fixture(scope="module", params=TRANSPORTS)
def node(
    request: pytest.FixtureRequest,
    collector: Collector,
    patch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Node]:
    overrides = {"transport": request.param, "traces": collector.address}
    installation = Installation(tmp_path_factory.mktemp("traces"), overrides)
    patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")  # milliseconds
    publish("twice", doubler(), settings=installation.settings())
    publish_recommender(installation, "shop", 1)
    with Node(installation) as started:
        installation.ask("event", "ann", "item=v1-3")
        wait_until(lambda: recommend(started.address, "shop", "ann").source == NEARLINE, "a prediction")
        yield started


def header(number: int) -> tuple[tuple[str, str], ...]:
    return (("traceparent", f"00-{number:032x}-{PARENT}-01"),)


def trace(collector: Collector, number: int, name: str) -> tuple[Span, list[Span]]:
    """The span of a request, which is the last of its trace to end, and those below it."""

    def look() -> tuple[Span, list[Span]] | None:
        ours = [span for span in collector.spans if int.from_bytes(span.trace_id) == number]
        found = [span for span in ours if span.name == name]
        return (found[0], [span for span in ours if span is not found[0]]) if found else None

    request, stages = wait_until(look, f"{name} of trace {number}")
    assert request.parent_span_id.hex() == PARENT
    assert {span.parent_span_id for span in stages} <= {request.span_id}
    return request, stages


def ask(node: Node, number: int, **fields: Any) -> recommender_pb2.RecommendResponse:
    with channel_to(node.address) as channel:
        stub: Any = recommender_pb2_grpc.RecommenderStub(channel)
        request = recommender_pb2.RecommendRequest(objective="shop", **fields)
        answer: recommender_pb2.RecommendResponse = stub.Recommend(request, timeout=PATIENCE_S, metadata=header(number))
        return answer


def test_a_hit_says_which_version_and_source_it_came_from(node: Node, collector: Collector) -> None:
    number = hash((id(node), 1)) % (1 << 60) + 1
    assert ask(node, number, entity_id="ann").source == NEARLINE
    span, _ = trace(collector, number, RECOMMEND)
    said = attributes(span)
    assert (said["nearline.model"], said["nearline.version"], said["nearline.source"]) == ("shop", 1, "FROM_NEARLINE")
    assert said["rpc.grpc.status_code"] == 0


def test_what_is_computed_shows_its_reads_and_its_run(node: Node, collector: Collector) -> None:
    number = hash((id(node), 2)) % (1 << 60) + 1
    assert ask(node, number, entity_id="ann", max_age_ms=1).source == ONLINE
    span, stages = trace(collector, number, RECOMMEND)
    assert attributes(span)["nearline.source"] == "FROM_ONLINE"
    assert sorted(stage.name for stage in stages) == ["nearline.run", "nearline.store.read", "nearline.store.read"]
    for stage in stages:
        assert span.start_time_unix_nano <= stage.start_time_unix_nano <= stage.end_time_unix_nano
        assert stage.end_time_unix_nano <= span.end_time_unix_nano
    run = attributes(next(stage for stage in stages if stage.name == "nearline.run"))
    assert (run["nearline.model"], run["nearline.version"]) == ("shop", 1)
    assert (run["nearline.batch.requests"], run["nearline.batch.rows"]) == (1, 1)
    assert run["nearline.batch.wait_ms"] >= 0


def test_what_nothing_is_known_of_shows_that_nothing_was_found(node: Node, collector: Collector) -> None:
    number = hash((id(node), 3)) % (1 << 60) + 1
    assert ask(node, number, entity_id="nobody").source == FALLBACK
    _, stages = trace(collector, number, RECOMMEND)
    assert {attributes(stage)["nearline.store.found"] for stage in stages} == {0}


def test_requests_that_share_a_run_are_linked(node: Node, collector: Collector) -> None:
    """In a stream they arrive together; each answer's request is a part of the one span of the stream."""
    number = hash((id(node), 4)) % (1 << 60) + 1
    tensor = inference_pb2.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=[1, 3])
    tensor.contents.fp32_contents.extend([1, 2, 3])
    request = inference_pb2.ModelInferRequest(model_name="twice", inputs=[tensor])
    with channel_to(node.address) as channel:
        stub: Any = inference_pb2_grpc.GRPCInferenceServiceStub(channel)
        unary = stub.ModelInfer(request, timeout=PATIENCE_S, metadata=header(number))
        answers = list(stub.ModelStreamInfer(iter([request] * 20), timeout=PATIENCE_S, metadata=header(number + 1)))
    assert unary.model_version == "1"
    assert len(answers) == 20
    span, runs = trace(collector, number, "inference.GRPCInferenceService/ModelInfer")
    assert (attributes(span)["nearline.model"], attributes(span)["nearline.version"]) == ("twice", 1)
    assert [run.name for run in runs] == ["nearline.run"]
    span, runs = trace(collector, number + 1, "inference.GRPCInferenceService/ModelStreamInfer")
    assert len(runs) == 20
    together: dict[tuple[int, int], list[Span]] = {}
    for run in runs:
        together.setdefault((run.start_time_unix_nano, run.end_time_unix_nano), []).append(run)
    for ran in together.values():
        assert {attributes(run)["nearline.batch.requests"] for run in ran} == {len(ran)}
        assert sum(len(run.links) for run in ran) == 2 * (len(ran) - 1)


def test_a_request_that_fails_is_in_the_trace_with_its_status(node: Node, collector: Collector) -> None:
    number = hash((id(node), 5)) % (1 << 60) + 1
    with pytest.raises(grpc.RpcError):
        ask(node, number, entity_id="")
    span, _ = trace(collector, number, RECOMMEND)
    assert attributes(span)["rpc.grpc.status_code"] == grpc.StatusCode.INVALID_ARGUMENT.value[0]
