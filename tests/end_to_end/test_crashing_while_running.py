"""A version that ends the process that runs it: the node learns which one that was, and goes back to the one before."""

import platform
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import grpc
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

from publisher.api import publish
from serving.recipes.event import encode_event
from tests.end_to_end.client import NEARLINE, recommend, wait_for_version
from tests.end_to_end.inferring import infer
from tests.end_to_end.installation import Installation, Node
from tests.end_to_end.models import ITEMS, recommender
from tests.end_to_end.waiting import wait_until

pytestmark = [
    pytest.mark.skipif(platform.machine() not in {"x86_64", "AMD64"}, reason="other processors bear that division"),
    pytest.mark.timeout(600),
]

CATALOGUE = [f"i{row}" for row in range(ITEMS)]
DEADLY = "i7"
DEATHS = 3
SMALLEST = np.iinfo(np.int64).min


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    return Installation(tmp_path_factory.mktemp("crashing"))


@pytest.fixture(scope="module")
def node(installation: Installation) -> Iterator[Node]:
    with Node(installation) as started:
        yield started


def deadly_recommender() -> onnx.ModelProto:
    """Divides the smallest whole number by -1 for whoever has DEADLY among the last items, else by 1."""
    model = recommender(2)
    divisors = np.ones((ITEMS + 1, 1), np.int64)
    divisors[CATALOGUE.index(DEADLY)] = -1
    choose = model.graph.node.pop()
    choose.input[0] = "scored"
    model.graph.node.extend(
        [
            helper.make_node("Gather", ["divisors", "history"], ["each"], axis=0),
            helper.make_node("ReduceMin", ["each", "axis"], ["divisor"], keepdims=0),
            helper.make_node("Div", ["smallest", "divisor"], ["quotient"]),
            helper.make_node("Cast", ["quotient"], ["number"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["number", "nothing"], ["nil"]),
            helper.make_node("Add", ["summed", "nil"], ["scored"]),
            choose,
        ]
    )
    constants: dict[str, Any] = {"divisors": divisors, "smallest": np.int64(SMALLEST), "nothing": np.float32(0)}
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items())
    return model


def dividing(dividend: int) -> onnx.ModelProto:
    """`x` INT64 [batch, 1] → `y`: a number divided by it."""
    return parser.parse_model(f"""
        <ir_version: 10, opset_import: ["": 18]>
        dividing (int64[batch, 1] x) => (int64[batch, 1] y)
        <int64 dividend = {{{dividend}}}> {{ y = Div (dividend, x) }}
        """)


def refused(installation: Installation, model: str) -> dict[str, dict[str, Any]]:
    """Wait until every worker has refused version 2."""
    return installation.wait_for_state(model, 2, {"REJECTED"}, 3)


def test_events_that_end_the_near_line_worker_do_so_three_times_and_then_the_version_before_answers_everywhere(
    installation: Installation, node: Node
) -> None:
    for version, graph in ((1, recommender(1)), (2, deadly_recommender())):
        publish("shop", graph, items=CATALOGUE, version=version, settings=installation.settings())
        installation.wait_for_state("shop", version, {"READY"}, node.workers)
    wait_for_version(node.address, "shop", 2, "nobody")
    serving = {name: pid for name, pid in installation.pids().items() if name.startswith("serving")}

    bus = installation.bus()
    bus.append_many(installation.settings().topics.events.name, [encode_event("ann", {"item": DEADLY})])
    bus.close()

    for instance in refused(installation, "shop").values():
        assert instance["error"]["kind"] == "CRASH"
        assert instance["error"]["message"] == (
            f"running it ended processes of this node {DEATHS} times within 60 min, "
            "last nearline-0 (Floating point exception)"
        )

    def answered() -> bool:
        answer = recommend(node.address, "shop", "ann")
        return (answer.version, answer.source) == (1, NEARLINE)

    wait_until(answered, "the prediction that the near-line worker died of, by version 1")
    assert len([line for line in node.events("worker.died") if line["name"] == "nearline-0"]) == DEATHS
    assert serving.items() <= installation.pids().items(), "who has not died of it need not"
    assert node.metric("nearline_load_errors_total") >= node.workers


def test_requests_that_end_serving_workers_do_so_a_few_times_and_then_the_version_before_answers(
    installation: Installation, node: Node
) -> None:
    for version, dividend in ((1, 12), (2, SMALLEST)):
        publish(
            "calc",
            dividing(dividend),
            samples={"x": np.ones((4, 1), np.int64)},
            version=version,
            settings=installation.settings(),
        )
        installation.wait_for_state("calc", version, {"READY"}, node.workers)

    def answered() -> bool:
        with suppress(grpc.RpcError):  # its worker has died of it
            return bool(infer(node.address, "calc", {"x": np.array([[-1]])})["y"].item() == -12)
        return False

    wait_until(answered, "version 1 answers what workers died of")
    for instance in refused(installation, "calc").values():
        assert instance["error"]["kind"] == "CRASH"
    deaths = [line for line in node.events("worker.died") if line["name"].startswith("serving")]
    assert len(deaths) in {DEATHS, DEATHS + 1}, "the other one may be asked before it has heard of the three"
    assert recommend(node.address, "shop", "ann").version == 1, "other models go on"
