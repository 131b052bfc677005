"""Small ONNX graphs."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ROWS = 20
"""Items of the catalogue."""
N = 4
K = 3
OPSET = 17
IR_VERSION = 8


def model(graph: onnx.GraphProto, *, opset: int = OPSET, ir_version: int = IR_VERSION) -> onnx.ModelProto:
    """A graph as a file holds it."""
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)


def recommender(*, step: int = 1, bad_row: int | None = None) -> onnx.ModelProto:
    """`history` INT64 [batch, N] -> `items` INT64 [batch, K], `scores` FP32 [batch, K].

    An item speaks for the `step`th item after it with 1, and for the one `step` further with 0.5. The weights are
    large enough to be external. `bad_row`: scores become NaN once that item is in the history.
    """
    similarity = np.zeros((ROWS + 1, ROWS), np.float32)  # the pad of -1 gathers the last row
    for row in range(ROWS):
        similarity[row, (row + step) % ROWS] = 1
        similarity[row, (row + 2 * step) % ROWS] = 0.5
    if bad_row is not None:
        similarity[bad_row] = np.nan
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["similarity", "history"], ["similar"], axis=0),
            helper.make_node("ReduceSum", ["similar", "one"], ["sums"], keepdims=0),
            helper.make_node("TopK", ["sums", "k"], ["scores", "items"], axis=-1),
        ],
        "recommender",
        [helper.make_tensor_value_info("history", TensorProto.INT64, ["batch", N])],
        [
            helper.make_tensor_value_info("items", TensorProto.INT64, ["batch", K]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", K]),
        ],
        [
            numpy_helper.from_array(similarity, "similarity"),
            numpy_helper.from_array(np.array([1], np.int64), "one"),
            numpy_helper.from_array(np.array([K], np.int64), "k"),
        ],
    )
    return model(graph)


def doubler(shape: tuple[int | str, ...] = ("batch", 2), datatype: int = TensorProto.FLOAT) -> onnx.ModelProto:
    """`x` -> `y` = x + x, of the same shape: a model that recommends nothing."""
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["y"])],
        "doubler",
        [helper.make_tensor_value_info("x", datatype, shape)],
        [helper.make_tensor_value_info("y", datatype, shape)],
    )
    return model(graph)


def echo() -> onnx.ModelProto:
    """`text` BYTES [batch] -> `same`."""
    graph = helper.make_graph(
        [helper.make_node("Identity", ["text"], ["same"])],
        "echo",
        [helper.make_tensor_value_info("text", TensorProto.STRING, ["batch"])],
        [helper.make_tensor_value_info("same", TensorProto.STRING, ["batch"])],
    )
    return model(graph)
