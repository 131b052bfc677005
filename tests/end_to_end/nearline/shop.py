"""Recommenders whose answers tell a lot of an entity's state, so that a difference there is one here as well.

All their numbers are whole and small: sums are exact, so that answers do not depend on who else is in a batch.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from publisher.api import publish
from serving.recipes.features import Count, LastN, Request
from serving.recipes.recipe import Recipe
from tests.end_to_end.installation import Installation

MODEL, BLIND = "shop", "blind"
ITEMS = 30
_HISTORY, _K = 6, 5
RECIPE: Recipe = {"history": LastN(n=_HISTORY), "purchases": Count(window="1h", types=("purchase",))}


def publish_shop(installation: Installation) -> None:
    """Publish MODEL: the last items, and how many purchases there were within an hour."""
    publish(
        MODEL,
        _shop(),
        items=[f"item-{row}" for row in range(ITEMS)],
        recipe=RECIPE,
        nearline={"ttl": "1d"},
        version=1,
        settings=installation.settings(),
    )


def publish_blind(installation: Installation) -> None:
    """Publish BLIND, which looks at the request alone."""
    publish(
        BLIND,
        _blind(),
        items=[f"item-{row}" for row in range(ITEMS)],
        recipe={"hour": Request(field="hour", default=0.0)},
        version=1,
        settings=installation.settings(),
    )


def _shop() -> ModelProto:
    rng = np.random.default_rng(7)
    similar = rng.integers(0, 5000, (ITEMS + 1, ITEMS)).astype(np.float32)
    similar[ITEMS] = 0  # row -1: padding
    # Places count: the same items in another order give other scores.
    places = np.arange(1, _HISTORY + 1, dtype=np.float32).reshape(1, _HISTORY, 1)
    nodes = [
        helper.make_node("Gather", ["similar", "history"], ["gathered"], axis=0),
        helper.make_node("Mul", ["gathered", "places"], ["weighted"]),
        helper.make_node("ReduceSum", ["weighted", "axis"], ["summed"], keepdims=0),
        helper.make_node("Mul", ["purchases", "slopes"], ["bought"]),
        helper.make_node("Add", ["summed", "bought"], ["all"]),
        helper.make_node("TopK", ["all", "k"], ["scores", "items"]),
    ]
    inputs = [
        helper.make_tensor_value_info("history", TensorProto.INT64, ["batch", _HISTORY]),
        helper.make_tensor_value_info("purchases", TensorProto.FLOAT, ["batch", 1]),
    ]
    constants = {
        "similar": similar,
        "places": places,
        "axis": np.array([1]),
        "slopes": rng.integers(0, 5000, (1, ITEMS)).astype(np.float32),
        "k": np.array([_K]),
    }
    return _model(nodes, inputs, constants)


def _blind() -> ModelProto:
    nodes = [
        helper.make_node("Mul", ["hour", "slopes"], ["all"]),
        helper.make_node("TopK", ["all", "k"], ["scores", "items"]),
    ]
    inputs = [helper.make_tensor_value_info("hour", TensorProto.FLOAT, ["batch", 1])]
    slopes = np.random.default_rng(7).integers(0, 5000, (1, ITEMS)).astype(np.float32)
    return _model(nodes, inputs, {"slopes": slopes, "k": np.array([_K])})


def _model(nodes: list[NodeProto], inputs: list[ValueInfoProto], constants: dict[str, NDArray[Any]]) -> ModelProto:
    outputs = [
        helper.make_tensor_value_info("items", TensorProto.INT64, ["batch", _K]),
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", _K]),
    ]
    initializers = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "graph", inputs, outputs, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
