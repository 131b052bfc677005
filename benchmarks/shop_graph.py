"""An item-to-item model as ONNX that looks at an entity's last items and nothing else, so that the default recipe fits.

Each row of the batch by itself, as serving/demo/graph.py does and measures.
"""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

_OPSET, _IR_VERSION = 17, 8


def to_onnx(
    rows: NDArray[np.int32], similarity: NDArray[np.float32], history: int, k: int, offset: float = 0.0
) -> onnx.ModelProto:
    """Return the graph: `history` INT64 [batch, history] -> `items` INT64, `scores` FP32, both [batch, k].

    rows, similarity: each item's neighbours, [items, neighbours]. A pad of -1 in the history adds nothing. offset:
    added to every score, so that an answer shows what computed it.
    """
    weights = {
        "neighbours": np.vstack([rows, np.zeros_like(rows[:1])]),
        "similarity": np.vstack([similarity, np.zeros_like(similarity[:1])]),
        "nothing": np.zeros(len(rows), np.float32),
        "offset": np.array(offset, np.float32),
        "flat": np.array([-1], np.int64),
        "k": np.array([k], np.int64),
    }
    node = helper.make_node
    one = helper.make_graph(
        [
            node("Gather", ["neighbours", "rows"], ["near"], axis=0),
            node("Reshape", ["near", "flat"], ["near_flat"]),
            node("Gather", ["similarity", "rows"], ["similar"], axis=0),
            node("Reshape", ["similar", "flat"], ["similar_flat"]),
            node("ScatterElements", ["nothing", "near_flat", "similar_flat"], ["sums"], axis=0, reduction="add"),
            node("TopK", ["sums", "k"], ["plain_scores", "best_items"], axis=-1),
            node("Add", ["plain_scores", "offset"], ["best_scores"]),
        ],
        "one_entity",
        [helper.make_tensor_value_info("rows", TensorProto.INT64, [history])],
        [
            helper.make_tensor_value_info("best_items", TensorProto.INT64, [k]),
            helper.make_tensor_value_info("best_scores", TensorProto.FLOAT, [k]),
        ],
    )
    graph = helper.make_graph(
        [node("Scan", ["history"], ["items", "scores"], body=one, num_scan_inputs=1)],
        "item_to_item",
        [helper.make_tensor_value_info("history", TensorProto.INT64, ["batch", history])],
        [
            helper.make_tensor_value_info("items", TensorProto.INT64, ["batch", k]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", k]),
        ],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
