"""Bundles that mean harm, each in its own way; made here, since none is to be had as a file."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

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


CRAFTED: list[tuple[str, Craft, str]] = [
    ("weights above the bundle", _external("../../../etc/passwd"), "POLICY"),
    ("weights at an absolute path", _external("/etc/passwd"), "POLICY"),
    ("weights in the memory of the process", _external("*/_ORT_MEM_ADDR_/*"), "POLICY"),
    ("an unknown operator domain", unknown_domain, "POLICY"),
    ("an enormous tensor", _enormous(), "RESOURCE"),
    ("an endless loop", _endless(), "TIMEOUT"),
    ("answers that are no numbers", _not_a_number(), "WARMUP"),
    ("a manifest that lies", lying_manifest, "MANIFEST"),
    ("samples that unpack to 64 GiB", bomb, "RESOURCE"),
]
"""What it is, how it is made, and the kind of error that its instances report."""
