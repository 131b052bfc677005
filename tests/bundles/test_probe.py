"""Whether a model answers its own samples."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from protos.nearline.v1 import status_pb2
from publisher.sources.source import Samples
from serving.bundles.bundle import MANIFEST, SAMPLES, open_bundle
from serving.bundles.probe import check_signature, run_samples
from serving.bundles.session import ModelSession
from serving.errors import ModelError
from tests.builders.bundles import build, build_recommender
from tests.builders.graphs import N, doubler, echo, recommender


def probe(folder: Path) -> None:
    bundle, session = open_bundle(folder), ModelSession.open(folder)
    check_signature(bundle, session)
    run_samples(bundle, session)


def refusal(folder: Path) -> ModelError:
    with pytest.raises(ModelError) as caught:
        probe(folder)
    assert caught.value.rejected
    return caught.value


@pytest.mark.parametrize(
    ("graph", "samples"),
    [(None, None), (doubler(), None), (doubler((3, 2)), None), (echo(), None)],
    ids=["recommender", "numbers", "fixed", "strings"],
)
def test_what_the_publisher_builds_passes(
    graph: onnx.ModelProto | None, samples: Samples | None, tmp_path: Path
) -> None:
    build(tmp_path, graph, samples)
    probe(tmp_path)


def test_a_single_number_is_a_row(tmp_path: Path) -> None:
    build(tmp_path, doubler(()))
    probe(tmp_path)


def test_an_input_that_the_graph_calls_otherwise_is_named(tmp_path: Path) -> None:
    build(tmp_path)
    text = (tmp_path / MANIFEST).read_text()
    (tmp_path / MANIFEST).write_text(text.replace('"history"', '"past"'))
    error = refusal(tmp_path)
    assert error.kind == status_pb2.MANIFEST
    assert str(error) == "input 'history': expected none as the manifest says, got INT64 [-1, 4] in the graph"


def test_an_output_of_another_type_or_shape_is_named(tmp_path: Path) -> None:
    build(tmp_path, doubler())
    text = (tmp_path / MANIFEST).read_text()
    before, _, after = text.partition('"outputs"')
    (tmp_path / MANIFEST).write_text(f'{before}"outputs"{after.replace("FP32", "FP64")}')
    error = refusal(tmp_path)
    assert error.kind == status_pb2.MANIFEST
    assert str(error) == "output 'y': expected FP64 [-1, 2] as the manifest says, got FP32 [-1, 2] in the graph"


def test_scores_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    build_recommender(tmp_path, recommender(bad_row=1))
    error = refusal(tmp_path)
    assert (error.kind, str(error)) == (
        status_pb2.WARMUP,
        "output 'scores': expected finite numbers, got NaN or Inf",
    )


def rewrite(folder: Path, **arrays: Any) -> None:
    np.savez(folder / SAMPLES, **arrays)


@pytest.mark.parametrize(
    "history",
    [np.full((2, N), 99, np.int64), np.zeros((2, N + 1), np.int64), np.zeros((2, N), np.float32)],
    ids=["outside", "shape", "dtype"],
)
def test_samples_that_the_graph_cannot_take_are_refused(history: Any, tmp_path: Path) -> None:
    build(tmp_path)
    rewrite(tmp_path, history=history)
    assert refusal(tmp_path).kind == status_pb2.WARMUP


def test_no_samples_prove_nothing(tmp_path: Path) -> None:
    build(tmp_path)
    rewrite(tmp_path, history=np.zeros((0, N), np.int64))
    assert str(refusal(tmp_path)) == "samples: expected at least one row, got none"
