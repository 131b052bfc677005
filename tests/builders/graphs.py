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


def recommender(*, step: int = 1, bad_row: int | None = None, page: bool = False, rounds: int = 0) -> onnx.ModelProto:
    """`history` INT64 [batch, N] -> `items` INT64 [batch, K], `scores` FP32 [batch, K].

    An item speaks for the `step`th item after it with 1, and for the one `step` further with 0.5. The weights are
    large enough to be external. `bad_row`: scores become NaN once that item is in the history. `page`: another input,
    INT64 [batch], an item that speaks like those of the history; -1 for none. `rounds`: of a loop that changes nothing
    but how long a run takes.
    """
    similarity = np.zeros((ROWS + 1, ROWS), np.float32)  # the pad of -1 gathers the last row
    for row in range(ROWS):
        similarity[row, (row + step) % ROWS] = 1
        similarity[row, (row + 2 * step) % ROWS] = 0.5
    if bad_row is not None:
        similarity[bad_row] = np.nan
    inputs = [helper.make_tensor_value_info("history", TensorProto.INT64, ["batch", N])]
    nodes = [
        helper.make_node("Gather", ["similarity", "history"], ["similar"], axis=0),
        helper.make_node("ReduceSum", ["similar", "one"], ["sums"], keepdims=0),
    ]
    if page:
        inputs.append(helper.make_tensor_value_info("page", TensorProto.INT64, ["batch"]))
        nodes.append(helper.make_node("Gather", ["similarity", "page"], ["likewise"], axis=0))
        nodes.append(helper.make_node("Add", ["sums", "likewise"], ["all sums"]))
    sums = nodes[-1].output[0]
    if rounds:
        nodes.append(_loop(sums, "late sums", rounds))
        sums = "late sums"
    graph = helper.make_graph(
        [*nodes, helper.make_node("TopK", [sums, "k"], ["scores", "items"], axis=-1)],
        "recommender",
        inputs,
        [
            helper.make_tensor_value_info("items", TensorProto.INT64, ["batch", K]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", K]),
        ],
        [
            numpy_helper.from_array(similarity, "similarity"),
            numpy_helper.from_array(np.array([1], np.int64), "one"),
            numpy_helper.from_array(np.array([K], np.int64), "k"),
            *([numpy_helper.from_array(np.array(rounds, np.int64), f"{rounds} rounds")] if rounds else []),
            *([numpy_helper.from_array(np.array(True), "yes")] if rounds else []),
        ],
    )
    return model(graph)


def paged() -> onnx.ModelProto:
    """`page` INT64 [batch] -> the K items after it, with falling scores: looks at the request alone."""
    after = np.array([[(row + step) % ROWS for step in range(1, K + 1)] for row in range(ROWS)], np.int64)
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["after", "page"], ["items"], axis=0),
            helper.make_node("Cast", ["items"], ["floats"], to=TensorProto.FLOAT),
            helper.make_node("Sub", ["floats", "floats"], ["nothing"]),
            helper.make_node("Add", ["nothing", "falling"], ["scores"]),
        ],
        "paged",
        [helper.make_tensor_value_info("page", TensorProto.INT64, ["batch"])],
        [
            helper.make_tensor_value_info("items", TensorProto.INT64, ["batch", K]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", K]),
        ],
        [
            numpy_helper.from_array(after, "after"),
            numpy_helper.from_array(np.arange(K, 0, -1, dtype=np.float32), "falling"),
        ],
    )
    return model(graph)


def mirror(*left_out: str) -> onnx.ModelProto:
    """An input [batch, width] of each other datatype, named as the protocol names it, and as output `<name> again`."""
    elements = {
        "BOOL": TensorProto.BOOL,
        "UINT8": TensorProto.UINT8,
        "UINT16": TensorProto.UINT16,
        "UINT32": TensorProto.UINT32,
        "UINT64": TensorProto.UINT64,
        "INT8": TensorProto.INT8,
        "INT16": TensorProto.INT16,
        "INT32": TensorProto.INT32,
        "INT64": TensorProto.INT64,
        "FP16": TensorProto.FLOAT16,
        "BF16": TensorProto.BFLOAT16,
        "FP32": TensorProto.FLOAT,
        "FP64": TensorProto.DOUBLE,
        "BYTES": TensorProto.STRING,
    }
    elements = {name: kind for name, kind in elements.items() if name not in left_out}
    shape = ["batch", "width"]
    graph = helper.make_graph(
        [helper.make_node("Identity", [name], [f"{name} again"]) for name in elements],
        "mirror",
        [helper.make_tensor_value_info(name, kind, shape) for name, kind in elements.items()],
        [helper.make_tensor_value_info(f"{name} again", kind, shape) for name, kind in elements.items()],
    )
    return model(graph)


def positives() -> onnx.ModelProto:
    """`x` FP32 [batch] -> `y`, INT64 [batch, 1] says the graph: but it is where `x` is not 0."""
    graph = helper.make_graph(
        [
            helper.make_node("NonZero", ["x"], ["where"]),
            helper.make_node("Transpose", ["where"], ["y"]),
        ],
        "positives",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch"])],
        [helper.make_tensor_value_info("y", TensorProto.INT64, ["batch", 1])],
    )
    return model(graph)


def _loop(name: str, out: str, rounds: int) -> onnx.NodeProto:
    """Take a tensor through so many rounds of doubling and halving."""
    shape: list[str | int | None] = ["batch", ROWS]
    two = helper.make_node("Constant", [], ["two"], value=numpy_helper.from_array(np.array(2, np.float32)))
    body = helper.make_graph(
        [
            two,
            helper.make_node("Mul", ["before", "two"], ["twice"]),
            helper.make_node("Div", ["twice", "two"], ["after"]),
            helper.make_node("Identity", ["going"], ["goes on"]),
        ],
        "round",
        [
            helper.make_tensor_value_info("round", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("before", TensorProto.FLOAT, shape),
        ],
        [
            helper.make_tensor_value_info("goes on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("after", TensorProto.FLOAT, shape),
        ],
    )
    return helper.make_node("Loop", [f"{rounds} rounds", "yes", name], [out], body=body)


def doubler(shape: tuple[int | str, ...] = ("batch", 2), datatype: int = TensorProto.FLOAT) -> onnx.ModelProto:
    """`x` -> `y` = x + x, of the same shape: a model that recommends nothing."""
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["y"])],
        "doubler",
        [helper.make_tensor_value_info("x", datatype, shape)],
        [helper.make_tensor_value_info("y", datatype, shape)],
    )
    return model(graph)


def wide(size: int = 1024, seed: int = 0) -> onnx.ModelProto:
    """`x` FP32 [batch, size] -> `y` = x times a matrix, of which the runtime has a copy of its own."""
    matrix = np.random.default_rng(seed).random((size, size), np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "matrix"], ["y"])],
        "wide",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", size])],
        [numpy_helper.from_array(matrix, "matrix")],
    )
    return model(graph)


def looked_up(size: int = 1024) -> onnx.ModelProto:
    """`x` INT64 [batch] -> `y` FP32 [batch, size], rows of a matrix, of which the runtime makes no copy."""
    graph = helper.make_graph(
        [helper.make_node("Gather", ["matrix", "x"], ["y"])],
        "looked_up",
        [helper.make_tensor_value_info("x", TensorProto.INT64, ["batch"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", size])],
        [numpy_helper.from_array(np.zeros((size, size), np.float32), "matrix")],
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
