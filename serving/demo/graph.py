"""The trained model as an ONNX graph.

Each row of the batch by itself, in a Scan: gather the neighbours of its products, weigh them, add them up by product,
keep the best. What one row needs stays in the processor's cache. Measured for 3,624 products, histories of 50 without
weights, one thread, best of many, milliseconds:

| graph                                                    | batch 1 | batch 64 | batch 1,024 |
|---|---|---|---|
| Scan: 20 neighbours, ScatterElements (this one)          | 0.013   | 0.49     | 8.3         |
| whole batch: 20 neighbours, ScatterElements              | 0.013   | 0.53     | 10.8        |
| Scan: 200 neighbours                                     | 0.032   | 1.85     | 30.8        |
| whole batch: 200 neighbours                              | 0.039   | 2.20     | 98.2        |
| Scan: all similarities, Gather and MatMul with ones      | 0.036   | 2.37     | 39.8        |

Multiplying counts by the whole matrix takes ten times longer, and gathering all similarities of a whole batch of
1,024 takes 820 MB.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from serving.demo.neighbours import Neighbours
from serving.demo.recipe import FRESH, HISTORY, LOOKED_AT, PURCHASES, VIEWING

ITEMS, SCORES = "items", "scores"

_OPSET = 17
_IR_VERSION = 8
"""What came with opset 17: as old as the graph allows, for every runtime to load it."""


def to_onnx(neighbours: Neighbours, history: int, k: int) -> onnx.ModelProto:
    """Return the graph.

    Inputs, all INT64: `history` [batch, history], rows of the catalogue, -1 where there is none; `purchases_30d`
    [batch], how many of these, counted from the newest, are fresh; `viewing` [batch], the row that is looked at, or
    -1. Outputs `items` (INT64) and `scores` (FP32), both [batch, k], best first; equal scores in the order of rows. So
    the places that a short history leaves open hold the most popular products, with score 0, behind all that were
    found.
    """
    # A pad of -1 gathers the last row: it adds zero to a product.
    rows = np.vstack([neighbours.rows, np.zeros_like(neighbours.rows[:1])])
    similarity = np.vstack([neighbours.similarity, np.zeros_like(neighbours.similarity[:1])])
    weights = {
        "neighbours": rows,
        "similarity": similarity,
        "nothing": np.zeros(len(neighbours.items), np.float32),
        "place": np.arange(history, 0, -1, dtype=np.int64),
        "fresh_weight": np.float32(FRESH),
        "old_weight": np.float32(1),
        "looked_at_weight": np.array([LOOKED_AT], np.float32),
        "one": np.array([1], np.int64),
        "column": np.array([-1, 1], np.int64),
        "flat": np.array([-1], np.int64),
        "k": np.array([k], np.int64),
    }
    node = helper.make_node
    one = helper.make_graph(
        [
            node("LessOrEqual", ["place", "purchases"], ["fresh"]),
            node("Where", ["fresh", "fresh_weight", "old_weight"], ["bought_weights"]),
            node("Concat", ["bought_weights", "looked_at_weight"], ["weights"], axis=0),
            node("Reshape", ["looked_at", "one"], ["looked_at_row"]),
            node("Concat", ["rows", "looked_at_row"], ["all_rows"], axis=0),
            node("Gather", ["neighbours", "all_rows"], ["near"], axis=0),
            node("Reshape", ["near", "flat"], ["near_flat"]),
            node("Gather", ["similarity", "all_rows"], ["similar"], axis=0),
            node("Reshape", ["weights", "column"], ["weights_column"]),
            node("Mul", ["similar", "weights_column"], ["weighed"]),
            node("Reshape", ["weighed", "flat"], ["weighed_flat"]),
            node("ScatterElements", ["nothing", "near_flat", "weighed_flat"], ["sums"], axis=0, reduction="add"),
            node("TopK", ["sums", "k"], ["best_scores", "best_items"], axis=-1),
        ],
        "one_customer",
        [
            helper.make_tensor_value_info("rows", TensorProto.INT64, [history]),
            helper.make_tensor_value_info("purchases", TensorProto.INT64, []),
            helper.make_tensor_value_info("looked_at", TensorProto.INT64, []),
        ],
        [
            helper.make_tensor_value_info("best_items", TensorProto.INT64, [k]),
            helper.make_tensor_value_info("best_scores", TensorProto.FLOAT, [k]),
        ],
    )
    graph = helper.make_graph(
        [node("Scan", [HISTORY, PURCHASES, VIEWING], [ITEMS, SCORES], body=one, num_scan_inputs=3)],
        "item_to_item",
        [
            helper.make_tensor_value_info(HISTORY, TensorProto.INT64, ["batch", history]),
            helper.make_tensor_value_info(PURCHASES, TensorProto.INT64, ["batch"]),
            helper.make_tensor_value_info(VIEWING, TensorProto.INT64, ["batch"]),
        ],
        [
            helper.make_tensor_value_info(ITEMS, TensorProto.INT64, ["batch", k]),
            helper.make_tensor_value_info(SCORES, TensorProto.FLOAT, ["batch", k]),
        ],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()],
    )
    return helper.make_model(
        graph,
        producer_name="nearline-demo",
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
    )
