"""ONNX files and samples for them: what is taken, and what the refusal says."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from publisher.build import build_bundle
from publisher.sources.choose import load_source
from publisher.sources.source import DRAWN_ROWS, MOST_ROWS
from serving.bundles.bundle import GRAPH, WEIGHTS
from serving.bundles.session import ModelSession
from serving.errors import InvalidRequestError
from tests.builders.bundles import HISTORY
from tests.builders.graphs import doubler, echo, recommender


def test_weights_beside_the_file_come_along(tmp_path: Path) -> None:
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    theirs.mkdir()
    ours.mkdir()
    options: dict[str, Any] = {"save_as_external_data": True, "location": "elsewhere.bin", "size_threshold": 0}
    onnx.save(recommender(), theirs / "model.onnx", **options)
    build_bundle(load_source(theirs / "model.onnx", HISTORY), ours)

    assert (ours / WEIGHTS).exists()
    expected = ModelSession.open(_written(tmp_path / "plain", recommender())).run(HISTORY, None)
    for one, other in zip(ModelSession.open(ours).run(HISTORY, None), expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_weights_that_are_not_beside_the_file_are_named(tmp_path: Path) -> None:
    options: dict[str, Any] = {"save_as_external_data": True, "location": "gone.bin", "size_threshold": 0}
    onnx.save(recommender(), tmp_path / "model.onnx", **options)
    (tmp_path / "gone.bin").unlink()
    with pytest.raises(InvalidRequestError, match=r"^MODEL: expected an? .*gone\.bin"):
        load_source(tmp_path / "model.onnx")


@pytest.mark.parametrize("content", [b"", b"hello world", recommender().SerializeToString()[:300]])
def test_a_corrupt_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(InvalidRequestError, match=r"^MODEL: expected an ONNX file, got .*model\.onnx: "):
        load_source(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match=r"^MODEL: expected a file that exists, got .*none\.onnx$"):
        load_source(tmp_path / "none.onnx")
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(InvalidRequestError, match=r"^MODEL: expected an ONNX file, got .*directory"):
        load_source(tmp_path / "folder.onnx")


def test_another_ending_or_object_is_refused_with_what_is_expected() -> None:
    with pytest.raises(InvalidRequestError, match=r"^MODEL: expected a file ending in \.onnx, .*, got model\.txt$"):
        load_source("model.txt")
    with pytest.raises(InvalidRequestError, match=r"^model: expected a path, an onnx\.ModelProto or .*, got int$"):
        load_source(3)


def test_rows_are_drawn_from_the_signature_the_same_every_time() -> None:
    one, other = (load_source(doubler(("batch", "free", 2))).samples["x"] for _ in range(2))
    assert one.shape == (DRAWN_ROWS, 4, 2)
    np.testing.assert_array_equal(one, other)
    assert load_source(echo()).samples["text"].dtype.kind == "U"
    assert not load_source(recommender()).samples["history"].any(), "0 is the one row that any catalogue has"


def test_samples_take_the_graphs_type_and_the_first_rows() -> None:
    rows = np.arange(2.0 * (MOST_ROWS + 6)).reshape(-1, 2)
    taken = load_source(doubler(), {"x": rows}).samples["x"]
    assert taken.dtype == np.float32
    np.testing.assert_array_equal(taken, rows[:MOST_ROWS])


def test_an_array_without_a_name_is_for_the_only_input() -> None:
    assert set(load_source(doubler(), np.zeros((2, 2))).samples) == {"x"}


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ({}, r"samples: expected an array for each of \['x'\], got \[\]"),
        ({"z": np.zeros((2, 2))}, r"samples: expected an array for each of \['x'\], got \['z'\]"),
        ({"x": np.array([["a", "b"]])}, r"samples\['x'\]: expected float32, got <U1"),
        ({"x": np.zeros((0, 2))}, r"samples\['x'\]: expected rows, at least one, got an array of shape \(0, 2\)"),
        ({"x": np.array(1.0)}, r"samples\['x'\]: expected rows, at least one, got an array of shape \(\)"),
    ],
)
def test_wrong_samples_are_named(samples: dict[str, NDArray[Any]], message: str) -> None:
    with pytest.raises(InvalidRequestError, match=f"^{message}$"):
        load_source(doubler(), samples)


def _written(folder: Path, graph: onnx.ModelProto) -> Path:
    folder.mkdir()
    onnx.save(graph, folder / GRAPH)
    return folder


def test_the_graph_says_what_made_it() -> None:
    graph = doubler()
    assert (load_source(graph).framework, load_source(graph).framework_version) == ("onnx", "")
    graph.producer_name, graph.producer_version = "pytorch", "2.9.0"
    assert (load_source(graph).framework, load_source(graph).framework_version) == ("pytorch", "2.9.0")
