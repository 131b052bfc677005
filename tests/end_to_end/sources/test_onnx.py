"""From an ONNX graph to gRPC: a node answers what ONNX Runtime computes from the same file."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper, parser

from tests.end_to_end.sources.data import X
from tests.end_to_end.sources.served import Served, assert_says

ROWS = X.astype(np.float32)


@pytest.fixture
def perceptron() -> onnx.ModelProto:
    model = parser.parse_model("""
        <ir_version: 10, opset_import: ["": 18]>
        perceptron (float[batch, 3] x) => (float[batch, 4] scores, int64[batch] best) {
            sums = MatMul (x, into)
            hidden = Relu (sums)
            logits = MatMul (hidden, out_of)
            scores = Softmax (logits)
            best = ArgMax <axis = 1, keepdims = 0> (scores)
        }""")
    rng = np.random.default_rng(0)
    for name, shape in (("into", (3, 512)), ("out_of", (512, 4))):  # beyond what stays inside of a bundle's graph
        weights = rng.standard_normal(shape).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(weights, name))
    return model


@pytest.mark.parametrize("outside", [False, True], ids=["weights inside", "weights beside"])
def test_a_node_answers_as_the_runtime_itself(
    outside: bool, served: Served, perceptron: onnx.ModelProto, tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(perceptron, path, save_as_external_data=outside, location="weights.bin")
    name = "beside" if outside else "inside"
    served.publish_by_program(name, path)
    scores, best = onnxruntime.InferenceSession(path).run(["scores", "best"], {"x": ROWS})
    assert_says(served.ask(name, {"x": ROWS}), {"scores": scores, "best": best})


def test_a_graph_in_memory_is_published_as_it_is(served: Served, perceptron: onnx.ModelProto) -> None:
    served.publish("memory", perceptron, samples=ROWS)
    session = onnxruntime.InferenceSession(perceptron.SerializeToString())
    scores, best = session.run(["scores", "best"], {"x": ROWS})
    assert_says(served.ask("memory", {"x": ROWS}), {"scores": scores, "best": best})
