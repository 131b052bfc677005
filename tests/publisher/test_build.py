"""Building: the same input gives the same bundle, laid out as nodes map it."""

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from onnx import TensorProto, helper, numpy_helper

from protos.digest import bundle_digest
from publisher.build import build_bundle, list_files
from publisher.sources.onnx_graph import from_onnx
from publisher.sources.source import Source
from serving.bundles.about import About
from serving.bundles.bundle import BASELINE, CATALOGUE, GRAPH, MANIFEST, SAMPLES, WEIGHTS, open_bundle
from serving.bundles.check import check_graph
from serving.bundles.session import ModelSession
from serving.bundles.trial import try_bundle
from serving.errors import UserError
from serving.recipes.recipe import LastN
from tests.builders.bundles import HISTORY, build
from tests.builders.graphs import doubler, echo, model, recommender


def test_the_same_input_gives_the_same_digest(tmp_path: Path) -> None:
    assert bundle_digest(build(tmp_path / "a")) == bundle_digest(build(tmp_path / "b"))


def test_other_weights_samples_or_words_give_another_digest(tmp_path: Path) -> None:
    def digest(name: str, source: Source, description: str = "") -> str:
        folder = tmp_path / name
        folder.mkdir()
        return bundle_digest(build_bundle(source, folder, about=About(description=description)))

    graph = recommender()
    same = Source(graph, HISTORY)
    digests = {
        digest("plain", same),
        digest("weights", Source(recommender(step=2), HISTORY)),
        digest("samples", Source(graph, {"history": HISTORY["history"] + 1})),
        digest("words", same, "for people"),
    }
    assert len(digests) == 4


def test_weights_above_one_kibibyte_are_external_in_one_file(tmp_path: Path) -> None:
    small, large = np.ones(256, np.float32), np.ones(257, np.float32)  # 1,024 and 1,028 bytes
    graph = _adding({"small": small, "large": large, "other": large * 2})
    build_bundle(from_onnx(graph, None), tmp_path)

    stored = check_graph(tmp_path)
    external = {t.name: {e.key: e.value for e in t.external_data} for t in stored.graph.initializer if t.external_data}
    assert set(external) == {"large", "other"}
    assert {place["location"] for place in external.values()} == {WEIGHTS}
    assert {path.name for path in tmp_path.iterdir()} == {GRAPH, WEIGHTS, MANIFEST, SAMPLES, BASELINE}
    total = sum(len(array) for array in (small, large, large * 2))
    outputs = ModelSession.open(tmp_path).run({"x": np.zeros((1, 1), np.float32)}, None)
    assert outputs[0].shape == (1, total)


def test_weights_listed_as_numbers_are_external_too(tmp_path: Path) -> None:
    graph = _adding({"large": np.ones(1000, np.float32)})
    listed = helper.make_tensor("large", TensorProto.FLOAT, [1000], [1.0] * 1000)
    assert not listed.HasField("raw_data")
    graph.graph.initializer[0].CopyFrom(listed)

    build_bundle(from_onnx(graph, None), tmp_path)

    assert (tmp_path / WEIGHTS).stat().st_size >= 4000
    assert (tmp_path / GRAPH).stat().st_size < 1000


def test_a_graph_without_large_weights_has_no_weights_file(tmp_path: Path) -> None:
    files = build(tmp_path, doubler())
    assert {file.path for file in files} == {GRAPH, MANIFEST, SAMPLES, BASELINE}


def test_a_recommender_has_its_catalogue_and_passes_its_trial(tmp_path: Path) -> None:
    files = build(tmp_path)
    assert {file.path for file in files} == {GRAPH, WEIGHTS, MANIFEST, CATALOGUE, SAMPLES, BASELINE}
    assert files == list_files(tmp_path)
    assert try_bundle(tmp_path, 60, 8 << 30).seconds > 0


def test_building_leaves_the_callers_graph_alone(tmp_path: Path) -> None:
    graph = recommender()
    before = graph.SerializeToString(deterministic=True)
    build_bundle(from_onnx(graph, None), tmp_path)
    assert graph.SerializeToString(deterministic=True) == before


def test_a_domain_named_twice_is_imported_once_with_its_larger_version(tmp_path: Path) -> None:
    graph = doubler()
    graph.opset_import.extend([helper.make_opsetid("ai.onnx", 15), helper.make_opsetid("ai.onnx.ml", 3)])
    build_bundle(from_onnx(graph, None), tmp_path)
    imported = [(opset.domain, opset.version) for opset in check_graph(tmp_path).opset_import]
    assert imported == [("", 17), ("ai.onnx.ml", 3)]


def test_a_recipe_that_does_not_fit_the_graph_is_named_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^manifest: recipe\.x: expected an input of INT32 or INT64, got FP32") as said:
        build_bundle(from_onnx(doubler(), None), tmp_path, recipe={"x": LastN(n=2)})
    assert "\n" not in str(said.value)


def test_strings_survive_as_samples(tmp_path: Path) -> None:
    build(tmp_path, echo(), {"text": np.array(["a", "größer"])})
    assert open_bundle(tmp_path).samples()["text"].tolist() == ["a", "größer"]


@settings(max_examples=30, deadline=None)
@given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9),
        elements=st.floats(-1e6, 1e6, width=32),
    )
)
def test_whatever_rows_go_in_come_out_of_the_bundle(tmp_path_factory: pytest.TempPathFactory, rows: np.ndarray) -> None:
    folder = tmp_path_factory.mktemp("bundle")
    try:
        build(folder, doubler(("batch", "width")), {"x": np.asfortranarray(rows)})
        stored = open_bundle(folder).samples()["x"]
        assert (stored.dtype, stored.tolist()) == (rows.dtype, rows.tolist())
    finally:
        shutil.rmtree(folder)


def _adding(weights: dict[str, np.ndarray]) -> onnx.ModelProto:
    """x [batch, 1] -> y: x added to the weights, one after the other."""
    nodes = [helper.make_node("Add", ["x", name], [f"{name}_sum"]) for name in weights]
    nodes.append(helper.make_node("Concat", [f"{name}_sum" for name in weights], ["y"], axis=1))
    total = sum(len(array) for array in weights.values())
    graph = helper.make_graph(
        nodes,
        "adding",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", total])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return model(graph)
