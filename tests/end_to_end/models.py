"""Small models that show which version answered."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from publisher.announce import Announcement
from publisher.api import publish
from tests.end_to_end.installation import Installation

HISTORY = 4
K = 5
ITEMS = 12


def recommender(seed: int) -> onnx.ModelProto:
    """history int64 [batch, 4] → items int64 [batch, 5], scores float [batch, 5]: similar to the last items."""
    rng = np.random.default_rng(seed)
    similar = rng.random((ITEMS + 1, ITEMS)).astype(np.float32)
    similar[ITEMS] = 0  # row -1: padding
    nodes = [
        helper.make_node("Gather", ["similar", "history"], ["gathered"], axis=0),
        helper.make_node("ReduceSum", ["gathered", "axis"], ["summed"], keepdims=0),
        helper.make_node("TopK", ["summed", "k"], ["scores", "items"]),
    ]
    return _model(
        nodes,
        [helper.make_tensor_value_info("history", TensorProto.INT64, ["batch", HISTORY])],
        [
            helper.make_tensor_value_info("items", TensorProto.INT64, ["batch", K]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", K]),
        ],
        {"similar": similar, "axis": np.array([1]), "k": np.array([K])},
    )


def doubler(operator: str = "Mul") -> onnx.ModelProto:
    """x float [batch, 3] → y = 2 x, float [batch, 3]."""
    return _model(
        [helper.make_node(operator, ["x", "two"], ["y"])],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])],
        {"two": np.array([2], np.float32)},
    )


def items_of(version: int) -> list[str]:
    """A catalogue whose ids tell the version."""
    return [f"v{version}-{row}" for row in range(ITEMS)]


def publish_recommender(installation: Installation, model: str, version: int, *, held: bool = False) -> Announcement:
    """Publish that version through the Python API."""
    return publish(
        model,
        recommender(version),
        items=items_of(version),
        version=version,
        held=held,
        settings=installation.settings(),
    )


def write_recommender(folder: Path, version: int) -> tuple[Path, Path]:
    """Write the model and its items as files, for the command line."""
    graph, items = folder / f"v{version}.onnx", folder / f"v{version}.txt"
    onnx.save(recommender(version), graph)
    items.write_text("\n".join(items_of(version)) + "\n")
    return graph, items


def _model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    constants: dict[str, NDArray[Any]],
) -> onnx.ModelProto:
    initializers = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "graph", inputs, outputs, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def echo() -> onnx.ModelProto:
    """words string [batch] → same string [batch]."""
    return _model(
        [helper.make_node("Identity", ["words"], ["same"])],
        [helper.make_tensor_value_info("words", TensorProto.STRING, ["batch"])],
        [helper.make_tensor_value_info("same", TensorProto.STRING, ["batch"])],
        {},
    )
