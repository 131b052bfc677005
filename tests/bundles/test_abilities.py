"""What the installed ONNX Runtime can load, and what a graph needs of it."""

import onnx
from onnx import TensorProto, helper

from serving.bundles.abilities import operators_digest, runtime_limits, runtime_operators
from serving.bundles.check import Operator, operators_of
from serving.bundles.runtime import runtime_version
from tests.builders.graphs import model, recommender


def test_the_runtime_says_what_it_loads() -> None:
    limits = runtime_limits()
    assert limits.opsets[""] >= 21
    assert limits.opsets["ai.onnx.ml"] >= 3
    assert limits.ir_version >= 10
    assert runtime_version().count(".") >= 2


def test_the_runtime_says_which_operators_it_runs_and_which_it_only_knows() -> None:
    known = {(o.domain, o.name): o for o in runtime_operators().operators}
    assert {7, 13} <= set(known["", "Mul"].runs)
    assert 1 in known["", "Mul"].knows, "so old that it has no kernel for it"
    constant = known["", "Constant"]
    assert (list(constant.runs), 13 in constant.knows) == ([], True)
    assert known["ai.onnx.ml", "Scaler"].runs == [1]
    assert known["com.microsoft", "Gelu"].runs == [1]
    assert {domain for domain, _ in known} == {"", "ai.onnx.ml", "com.microsoft"}


def test_all_of_it_is_small_enough_to_be_told_and_its_name_follows_from_it() -> None:
    assert len(runtime_operators().SerializeToString()) < 1 << 15
    before = operators_digest()
    for cached in (runtime_operators, operators_digest):
        cached.cache_clear()
    assert operators_digest() == before
    assert len(before) == 64


def test_a_graphs_operators_are_found_inside_of_others_too() -> None:
    used = [operator.name for operator in operators_of(recommender(rounds=3))]
    assert used == ["Constant", "Div", "Gather", "Identity", "Loop", "Mul", "ReduceSum", "TopK"]


def test_a_graphs_own_functions_are_none_of_the_runtimes_operators() -> None:
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch"]) for name in "xy"]
    graph = model(
        helper.make_graph([helper.make_node("Twice", ["x"], ["y"], domain="ai.onnx.ml")], "g", tensors[:1], tensors[1:])
    )
    body = [helper.make_node("Add", ["a", "a"], ["b"], domain="ai.onnx")]
    graph.functions.append(
        onnx.helper.make_function("ai.onnx.ml", "Twice", ["a"], ["b"], body, [helper.make_opsetid("ai.onnx", 14)])
    )
    assert operators_of(graph) == [Operator("", "Add", 14)]
