"""What live workers say that they can load, against what a graph needs."""

from collections.abc import Sequence
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from protos.nearline.v1 import status_pb2
from protos.status_view import StatusView
from protos.topics import operators_key, presence_key
from publisher.api import publish
from publisher.gate.fleet import check_fleet
from publisher.gate.operators import missing
from publisher.gate.report import Check, GateError
from serving.bundles.abilities import operators_digest, runtime_operators
from serving.bundles.check import Operator
from serving.bundles.trial import TrialReport
from serving.bus.connect import connect_bus
from serving.bus.read_status import Fleet
from serving.settings import Settings
from tests.builders.graphs import doubler, model


def without(*names: str) -> status_pb2.Operators:
    """What this runtime can run, but for these."""
    return status_pb2.Operators(operators=[o for o in runtime_operators().operators if o.name not in names])


def record(said: status_pb2.Operators) -> bytes:
    return status_pb2.StatusRecord(operators=said).SerializeToString()


def fleet(*workers: status_pb2.Presence, **operators: status_pb2.Operators) -> Fleet:
    view = StatusView()
    for digest, said in operators.items():
        view.apply(operators_key(digest), 1, record(said))
    return Fleet(view, workers)


def found(report: TrialReport, seen: Fleet) -> list[tuple[str, str, str]]:
    return [(check.name, check.expected, check.actual) for check in check_fleet(report, seen)]


def report(*operators: Operator, ir_version: int = 10, opsets: dict[str, int] | None = None) -> TrialReport:
    return TrialReport(1.0, 1, ir_version=ir_version, opsets=opsets or {"": 20}, operators=operators)


def test_limits_that_a_graph_is_beyond_name_the_worker() -> None:
    old = status_pb2.Presence(
        node="n", worker="w", runtime_version="1.0", max_ir_version=10, operator_domains=["", "ai.onnx"],
        max_opsets={"": 21, "ai.onnx.ml": 3},
    )  # fmt: skip
    new = status_pb2.Presence(node="n", worker="v", max_ir_version=13, max_opsets={"": 24, "ai.onnx.ml": 5})
    asked = report(ir_version=13, opsets={"": 24, "ai.onnx.ml": 4})
    assert found(asked, fleet(new, old)) == [
        ("IR version on n/w (onnxruntime 1.0)", "at most 10", "13"),
        ("opset of ai.onnx on n/w (onnxruntime 1.0)", "at most 21", "24"),
        ("opset of ai.onnx.ml on n/w (onnxruntime 1.0)", "at most 3", "4"),
        ("operator domain on n/w (onnxruntime 1.0)", "one of ['', 'ai.onnx']", "'ai.onnx.ml'"),
    ]
    assert check_fleet(asked, fleet(new))[0].passed


def test_an_earlier_release_says_the_opset_of_the_default_domain_only() -> None:
    worker = status_pb2.Presence(node="n", worker="w", runtime_version="1.0", max_opset=21)
    assert found(report(opsets={"ai.onnx": 22}), fleet(worker)) == [
        ("opset of ai.onnx on n/w (onnxruntime 1.0)", "at most 21", "22")
    ]
    passed = found(report(opsets={"": 21, "ai.onnx.ml": 99}), fleet(worker))
    assert passed == [
        (
            "what live workers can load",
            "by all 1",
            "IR version 10, ai.onnx 21, ai.onnx.ml 99, 0 operators (1 do not say which operators they have)",
        )
    ]


def test_an_operator_that_a_worker_does_not_have_is_named() -> None:
    worker = status_pb2.Presence(node="n", worker="w", runtime_version="1.0", operators="old")
    asked = report(Operator("", "Gelu", 20), Operator("", "Mul", 20))
    assert found(asked, fleet(worker, old=without("Gelu"))) == [
        ("operator on n/w (onnxruntime 1.0)", "one that it can run", "Gelu of ai.onnx 20")
    ]
    assert check_fleet(asked, fleet(worker, old=without("Sin")))[0].passed


def test_workers_of_the_same_runtime_need_no_comparison() -> None:
    worker = status_pb2.Presence(node="n", worker="w", operators=operators_digest())
    same = fleet(worker, **{operators_digest(): runtime_operators()})
    assert found(report(Operator("", "Mul", 20)), same)[0][2] == "IR version 10, ai.onnx 20, 1 operators"


def ops(*said: tuple[str, Sequence[int], Sequence[int]]) -> status_pb2.Operators:
    return status_pb2.Operators(
        operators=[status_pb2.Operator(name=name, runs=runs, knows=knows) for name, runs, knows in said]
    )


@pytest.mark.parametrize(
    ("name", "opset", "theirs", "ours", "lacks"),
    [
        ("Mul", 13, ops(("Mul", [7, 13], [1])), ops(("Mul", [7, 13], [1])), False),
        ("Mul", 12, ops(("Mul", [13], [1, 7])), ops(("Mul", [7, 13], [1])), True),  # it has a newer one only
        ("Mul", 14, ops(("Mul", [7, 13], [1])), ops(("Mul", [7, 13, 14], [1])), False),  # its opset limit tells
        ("Mul", 6, ops(("Mul", [7, 13], [])), ops(("Mul", [1, 7, 13], [])), True),  # not defined yet
        ("Mul", 13, ops(), ops(("Mul", [13], [])), True),
        ("Constant", 13, ops(("Constant", [], [1, 13])), ops(("Constant", [], [1, 13])), False),  # needs no kernel
        ("Gelu", 20, ops(("Gelu", [], [20])), ops(("Gelu", [20], [])), False),  # runs as what it consists of
        ("Gelu", 20, ops(), ops(("Gelu", [20], [])), True),
    ],
)  # fmt: skip
def test_an_operator_runs_in_the_version_that_the_opset_means(
    name: str, opset: int, theirs: status_pb2.Operators, ours: status_pb2.Operators, *, lacks: bool
) -> None:
    used = Operator("", name, opset)
    assert missing([used], theirs, ours) == ([used] if lacks else [])


def gelu() -> onnx.ModelProto:
    """`x` FP32 [batch, 2] -> `y`, likewise."""
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 2]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Gelu", ["x"], ["y"])], "gelu", tensors[:1], tensors[1:])
    return model(graph, opset=20)


def test_nothing_is_announced_that_a_live_worker_has_no_operator_for(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    bus = connect_bus(settings)
    bus.ensure_topics(settings.topics.all())
    status = settings.topics.status.name
    worker = status_pb2.Presence(node="n", worker="w", incarnation="1", runtime_version="1.0", operators="old")
    bus.append(status, operators_key("old"), record(without("Gelu")))
    bus.append(status, presence_key("n", "w"), status_pb2.StatusRecord(presence=worker).SerializeToString())

    with pytest.raises(GateError, match=r"operator on n/w \(onnxruntime 1.0\): .* got Gelu of ai.onnx 20; nothing was"):
        publish("m", gelu(), settings=settings, bus=bus)
    checks: list[Check] = []
    publish("m", doubler(), settings=settings, bus=bus, passed=lambda _bundle, passage: checks.extend(passage.checks))

    assert "by all 1" in {check.expected for check in checks}
    bus.close()
