"""Bundles that mean harm, each in its own way; made here, since none is to be had as a file."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, parser

from tests.end_to_end.broken import GRAPH

Craft = Callable[[Path], None]


def _graph(folder: Path, change: Callable[[onnx.ModelProto], None]) -> None:
    model = onnx.load_model(str(folder / GRAPH), load_external_data=False)
    change(model)
    (folder / GRAPH).write_bytes(model.SerializeToString())


def _external(location: str) -> Craft:
    def craft(folder: Path) -> None:
        def change(model: onnx.ModelProto) -> None:
            tensor = next(t for t in model.graph.initializer if t.name == "similar")
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL
            tensor.external_data.add(key="location", value=location)

        _graph(folder, change)

    return craft


def _before_scores(*nodes: onnx.NodeProto, **constants: object) -> Craft:
    """Put nodes between the sums (`summed`) and the choice, which looks at `crafted`."""

    def craft(folder: Path) -> None:
        def change(model: onnx.ModelProto) -> None:
            choose = model.graph.node.pop()
            choose.input[0] = "crafted"
            model.graph.node.extend([*nodes, choose])
            model.graph.initializer.extend(
                numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()
            )

        _graph(folder, change)

    return craft


def unknown_domain(folder: Path) -> None:
    """An operator of somebody's own."""

    def change(model: onnx.ModelProto) -> None:
        model.opset_import.append(helper.make_opsetid("evil.example", 1))
        model.graph.node[0].domain = "evil.example"

    _graph(folder, change)


def lying_manifest(folder: Path) -> None:
    """Another datatype than the graph's."""
    said = json.loads((folder / "manifest.json").read_text())
    said["inputs"][0]["shape"] = [-1, 3]
    (folder / "manifest.json").write_text(json.dumps(said))


def renamed_input(folder: Path) -> None:
    """A graph that calls its input otherwise than the manifest does."""

    def change(model: onnx.ModelProto) -> None:
        model.graph.input[0].name = model.graph.node[0].input[1] = "past"

    _graph(folder, change)


def other_datatype(folder: Path) -> None:
    """A graph whose input is of another type than the manifest says."""

    def change(model: onnx.ModelProto) -> None:
        model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT32

    _graph(folder, change)


def missing_output(folder: Path) -> None:
    """A graph that lacks an output of the manifest."""

    def change(model: onnx.ModelProto) -> None:
        del model.graph.output[1]

    _graph(folder, change)


def bomb(folder: Path) -> None:
    """Samples that are small on the disk, and 64 GiB in memory."""
    header = io.BytesIO()
    shape = (1 << 31, 4)
    np.lib.format.write_array_header_1_0(header, {"descr": "<i8", "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(folder / "samples.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("history.npy", header.getvalue() + bytes(64 << 20))


def _endless() -> Craft:
    body = helper.make_graph(
        [helper.make_node("Identity", ["on"], ["again"]), helper.make_node("Add", ["value", "value"], ["next"])],
        "body",
        [
            helper.make_tensor_value_info("at", TensorProto.INT64, []),
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("value", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("again", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, None),
        ],
    )
    return _before_scores(helper.make_node("Loop", ["", "ever", "summed"], ["crafted"], body=body), ever=True)


def _enormous() -> Craft:
    return _before_scores(
        helper.make_node("ReduceMax", ["history"], ["most"], keepdims=0),  # known only once it runs
        helper.make_node("Mul", ["most", "none"], ["zero"]),
        helper.make_node("Add", ["zero", "sizes"], ["shape"]),
        helper.make_node("ConstantOfShape", ["shape"], ["huge"]),
        helper.make_node("ReduceSum", ["huge"], ["sum"], keepdims=0),
        helper.make_node("Add", ["summed", "sum"], ["crafted"]),
        none=np.int64(0),
        sizes=np.array([1 << 17, 1 << 17]),
    )


def _not_a_number() -> Craft:
    return _before_scores(
        helper.make_node("Sub", ["summed", "summed"], ["nil"]), helper.make_node("Div", ["nil", "nil"], ["crafted"])
    )


_DEPTH = 50_000
"""ONNX Runtime 1.32 walks a tree by recursion while it loads one, and its stack is full at less than half of this."""


def _deep_tree() -> onnx.NodeProto:
    """`numbers` → `leaf`: a tree that is a single branch, so deep that the runtime's process dies of it."""
    nodes = 2 * _DEPTH + 1
    leaves = nodes - _DEPTH
    return helper.make_node(
        "TreeEnsembleRegressor",
        ["numbers"],
        ["leaf"],
        domain="ai.onnx.ml",
        n_targets=1,
        nodes_treeids=[0] * nodes,
        nodes_nodeids=range(nodes),
        nodes_featureids=[0] * nodes,
        nodes_values=[float(number) for number in range(nodes)],
        nodes_modes=["BRANCH_LEQ"] * _DEPTH + ["LEAF"] * leaves,
        nodes_truenodeids=[*range(_DEPTH + 1, nodes), *[0] * leaves],
        nodes_falsenodeids=[*range(1, _DEPTH + 1), *[0] * leaves],
        target_treeids=[0] * leaves,
        target_nodeids=range(_DEPTH, nodes),
        target_ids=[0] * leaves,
        target_weights=[1.0] * leaves,
    )


def deep_tree(folder: Path) -> None:
    """A recommender with such a tree in it."""
    _before_scores(
        helper.make_node("Cast", ["history"], ["numbers"], to=TensorProto.FLOAT),
        _deep_tree(),
        helper.make_node("Add", ["summed", "leaf"], ["crafted"]),
    )(folder)
    _graph(folder, lambda model: model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3)))


def ended_by_its_depth() -> onnx.ModelProto:
    """`numbers` FP32 [batch, 1] → `leaf`: such a tree alone."""
    graph = helper.make_graph(
        [_deep_tree()],
        "deep",
        [helper.make_tensor_value_info("numbers", TensorProto.FLOAT, ["batch", 1])],
        [helper.make_tensor_value_info("leaf", TensorProto.FLOAT, ["batch", 1])],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, ir_version=10, opset_imports=opsets)


def ended_by_a_division() -> onnx.ModelProto:
    """x int64 [batch, 2] → the smallest number divided by -1, of which there is none: x86 ends the process."""
    return parser.parse_model("""
        <ir_version: 10, opset_import: ["": 18]>
        dividing (int64[batch, 2] x) => (int64[batch, 2] y)
        <int64 smallest = {-9223372036854775808}, int64 minus = {-1}> {
            nothing = Sub (x, x)
            divisor = Add (nothing, minus)
            y = Div (smallest, divisor)
        }""")


def linked(stored: Path) -> None:
    """In the artifact store, a link to a file of the node in the place of the graph."""
    (stored / GRAPH).unlink()
    (stored / GRAPH).symlink_to("/etc/passwd")


CRAFTED: list[tuple[str, Craft, str]] = [
    ("weights above the bundle", _external("../../../etc/passwd"), "POLICY"),
    ("weights at an absolute path", _external("/etc/passwd"), "POLICY"),
    ("weights in the memory of the process", _external("*/_ORT_MEM_ADDR_/*"), "POLICY"),
    ("an unknown operator domain", unknown_domain, "POLICY"),
    ("an enormous tensor", _enormous(), "RESOURCE"),
    ("a graph that crashes the runtime", deep_tree, "CRASH"),
    ("an endless loop", _endless(), "TIMEOUT"),
    ("answers that are no numbers", _not_a_number(), "WARMUP"),
    ("a manifest that lies", lying_manifest, "MANIFEST"),
    ("an input by another name", renamed_input, "MANIFEST"),
    ("an input of another type", other_datatype, "MANIFEST"),
    ("an output that is missing", missing_output, "MANIFEST"),
    ("samples that unpack to 64 GiB", bomb, "RESOURCE"),
]
"""What it is, how it is made, and the kind of error that its instances report."""
