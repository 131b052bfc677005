"""Our own check of a graph: a model is code from outside."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from protos.nearline.v1 import status_pb2
from serving.bundles.bundle import GRAPH, WEIGHTS
from serving.bundles.check import check_graph
from serving.errors import ModelError
from tests.builders.bundles import build
from tests.builders.graphs import doubler, model


def external(location: str = WEIGHTS, name: str = "w", place: Mapping[str, object] | None = None) -> TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **(place or {})}.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def change(folder: Path, edit: Callable[[onnx.ModelProto], object]) -> None:
    graph = onnx.load_model(str(folder / GRAPH), load_external_data=False)
    edit(graph)
    (folder / GRAPH).write_bytes(graph.SerializeToString())


def refusal(folder: Path, edit: Callable[[onnx.ModelProto], object] | None = None) -> ModelError:
    if edit:
        change(folder, edit)
    with pytest.raises(ModelError) as caught:
        check_graph(folder)
    return caught.value


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    build(tmp_path)
    return tmp_path


def test_what_the_publisher_builds_passes(folder: Path) -> None:
    assert check_graph(folder).graph.name == "recommender"
    assert (folder / WEIGHTS).stat().st_size > 1024


@pytest.mark.parametrize("data", [b"", b"nothing", b"\xff" * 100, b"\x3a\x00"])
def test_bytes_that_are_no_graph_cannot_be_loaded(data: bytes, folder: Path) -> None:
    (folder / GRAPH).write_bytes(data)
    assert refusal(folder).kind == status_pb2.LOAD


def test_a_truncated_graph_cannot_be_loaded(folder: Path) -> None:
    data = (folder / GRAPH).read_bytes()
    (folder / GRAPH).write_bytes(data[: len(data) // 2])
    assert refusal(folder).kind == status_pb2.LOAD


@pytest.mark.parametrize(
    "location",
    ["/etc/passwd", "../other/model.onnx.data", "./model.onnx.data", "manifest.json", "", "model.onnx.data/",
     "*/_ORT_MEM_ADDR_/*", "file:///etc/passwd", "model.onnx.data\0x"],
)  # fmt: skip
def test_weights_elsewhere_are_refused(location: str, folder: Path) -> None:
    error = refusal(folder, lambda m: m.graph.initializer.append(external(location)))
    assert (error.kind, error.rejected) == (status_pb2.POLICY, True)
    assert "expected the location 'model.onnx.data'" in str(error)


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ({"offset": 1 << 40}, "expected to lie within"),
        ({"length": 1 << 40}, "expected to lie within"),
        ({"offset": -1}, "expected to lie within"),
        ({"offset": 8, "length": -4}, "expected to lie within"),
        ({"offset": "x"}, "expected numbers for offset and length"),
        ({"basepath": "/etc"}, "expected only ['checksum', 'length', 'location', 'offset'], got ['basepath']"),
    ],
)
def test_weights_outside_of_their_file_are_refused(place: dict[str, object], words: str, folder: Path) -> None:
    error = refusal(folder, lambda m: m.graph.initializer.append(external(WEIGHTS, place=place)))
    assert (error.kind, error.rejected) == (status_pb2.POLICY, True)
    assert words in str(error)


def test_a_place_that_is_said_twice_is_refused(folder: Path) -> None:
    tensor = external("/etc/passwd")
    tensor.external_data.add(key="location", value=WEIGHTS)
    assert "got one twice" in str(refusal(folder, lambda m: m.graph.initializer.append(tensor)))


def test_a_place_on_a_tensor_that_is_not_external_is_refused_alike(folder: Path) -> None:
    tensor = external("/etc/passwd")
    tensor.data_location = TensorProto.DEFAULT
    assert refusal(folder, lambda m: m.graph.initializer.append(tensor)).kind == status_pb2.POLICY


def test_truncated_weights_are_refused(folder: Path) -> None:
    os.truncate(folder / WEIGHTS, 100)
    assert "expected to lie within the 100 bytes" in str(refusal(folder))


def test_missing_weights_are_refused(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    assert str(refusal(folder)) == "model.onnx.data: expected a regular file of its own"


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_links_are_refused(link: Callable[[Path, Path], None], folder: Path) -> None:
    target = folder / "elsewhere"
    (folder / WEIGHTS).rename(target)
    link(target, folder / WEIGHTS)
    assert str(refusal(folder)) == "model.onnx.data: expected a regular file of its own"
    (folder / GRAPH).rename(folder / "graph")
    (folder / GRAPH).symlink_to(folder / "graph")
    assert str(refusal(folder)) == "model.onnx: expected a regular file"


def test_operators_of_unknown_domains_are_refused(folder: Path) -> None:
    error = refusal(folder, lambda m: m.graph.node.append(helper.make_node("Evil", ["a"], ["b"], domain="my.ops")))
    assert str(error).startswith("operator Evil: expected one of the domains")
    error = refusal(folder, lambda m: m.opset_import.append(helper.make_opsetid("my.ops", 1)))
    assert error.kind == status_pb2.POLICY


def test_negative_sizes_are_refused(folder: Path) -> None:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[-1])
    assert "expected sizes of 0 and more" in str(refusal(folder, lambda m: m.graph.initializer.append(tensor)))


def hidden_in_if() -> onnx.NodeProto:
    branch = helper.make_graph([], "branch", [], [], [external("/etc/passwd")])
    return helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)


def hidden_twice() -> onnx.NodeProto:
    inner = helper.make_graph([hidden_in_if()], "inner", [], [])
    return helper.make_node("Loop", ["n", "c"], ["y"], body=inner)


def hidden_in_constant() -> onnx.NodeProto:
    return helper.make_node("Constant", [], ["y"], value=external("/etc/passwd"))


def hidden_in_sparse_constant() -> onnx.NodeProto:
    sparse = onnx.SparseTensorProto(values=external("/etc/passwd"), dims=[1])
    return helper.make_node("Constant", [], ["y"], sparse_value=sparse)


@pytest.mark.parametrize("make", [hidden_in_if, hidden_twice, hidden_in_constant, hidden_in_sparse_constant])
def test_weights_elsewhere_are_found_inside_of_operators(make: Callable[[], onnx.NodeProto], tmp_path: Path) -> None:
    build(tmp_path, doubler())
    assert refusal(tmp_path, lambda m: m.graph.node.append(make())).kind == status_pb2.POLICY


def test_weights_elsewhere_are_found_inside_of_functions(tmp_path: Path) -> None:
    build(tmp_path, doubler())
    function = helper.make_function("", "F", ["a"], ["y"], [hidden_in_constant()], [helper.make_opsetid("", 17)])
    assert refusal(tmp_path, lambda m: m.functions.append(function)).kind == status_pb2.POLICY
    default = helper.make_attribute("value", external("/etc/passwd"))
    function = helper.make_function("", "F", [], [], [], [], attribute_protos=[default])
    build(tmp_path, doubler())
    assert refusal(tmp_path, lambda m: m.functions.append(function)).kind == status_pb2.POLICY


def test_weights_elsewhere_are_found_among_sparse_ones(tmp_path: Path) -> None:
    (tmp_path / GRAPH).write_bytes(
        model(
            helper.make_graph(
                [helper.make_node("Identity", ["s"], ["y"])],
                "g",
                [],
                [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
                sparse_initializer=[onnx.SparseTensorProto(values=external("/etc/passwd", name="s"), dims=[1])],
            )
        ).SerializeToString()
    )
    assert refusal(tmp_path).kind == status_pb2.POLICY
