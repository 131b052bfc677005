"""The model of online benchmarks: a perceptron of 64 -> 128 -> 1,000, and the best 20 of it. Seeded."""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

WIDTH, HIDDEN, OUT, K = 64, 128, 1_000, 20
INPUT = "x"
TOLD = "told"
_OPSET, _IR_VERSION = 17, 8


def ranker(seed: int = 0, told: float | None = None) -> onnx.ModelProto:
    """`x` FP32 [batch, 64] -> `items` INT64, `scores` FP32, both [batch, 20].

    told: with it there is an output `told`, FP32 [batch], that holds this number: an answer shows what computed it.
    """
    random = np.random.default_rng(seed)
    weights: dict[str, NDArray[np.float32] | NDArray[np.int64]] = {
        "first": random.standard_normal((WIDTH, HIDDEN)).astype(np.float32),
        "second": random.standard_normal((HIDDEN, OUT)).astype(np.float32),
        "k": np.array([K], np.int64),
    }
    node = helper.make_node
    nodes = [
        node("MatMul", [INPUT, "first"], ["sums"]),
        node("Relu", ["sums"], ["hidden"]),
        node("MatMul", ["hidden", "second"], ["out"]),
        node("TopK", ["out", "k"], ["scores", "items"], axis=-1),
    ]
    outputs = [
        helper.make_tensor_value_info("items", TensorProto.INT64, ["batch", K]),
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", K]),
    ]
    if told is not None:
        weights |= {"none": np.array(0, np.float32), "number": np.array(told, np.float32)}
        nodes += [
            node("ReduceMax", [INPUT], ["most"], axes=[-1], keepdims=0),
            node("Mul", ["most", "none"], ["nothing"]),
            node("Add", ["nothing", "number"], [TOLD]),
        ]
        outputs.append(helper.make_tensor_value_info(TOLD, TensorProto.FLOAT, ["batch"]))
    graph = helper.make_graph(
        nodes,
        "ranker",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["batch", WIDTH])],
        outputs,
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
