"""A model that is nothing but a table of embeddings, as large as wanted: what loading and sharing memory cost."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

COLUMNS = 64
ROW_BYTES = 4 * COLUMNS
INPUT, OUTPUT = "rows", "sums"
_OPSET, _IR_VERSION = 17, 8


def table_model(megabytes: int, seed: int = 0) -> onnx.ModelProto:
    """`rows` INT64 [batch] -> `sums` FP32 [batch], of a table of so many MiB."""
    count = (megabytes << 20) // ROW_BYTES
    table = np.random.default_rng(seed).random((count, COLUMNS), np.float32)
    node = helper.make_node
    graph = helper.make_graph(
        [
            node("Gather", ["table", INPUT], ["found"], axis=0),
            node("ReduceSum", ["found", "axis"], [OUTPUT], keepdims=0),
        ],
        "table",
        [helper.make_tensor_value_info(INPUT, TensorProto.INT64, ["batch"])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch"])],
        [numpy_helper.from_array(table, "table"), numpy_helper.from_array(np.array([1], np.int64), "axis")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
