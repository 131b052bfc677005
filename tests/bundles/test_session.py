"""A model in memory."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest

from protos.nearline.v1 import status_pb2
from serving.bundles.bundle import GRAPH
from serving.bundles.inprocess import run_graph
from serving.bundles.session import ModelSession
from serving.errors import ModelError, ModelInputError
from tests.builders.bundles import build
from tests.builders.graphs import K, N, doubler, echo, mirror, recommender


@pytest.fixture
def session(tmp_path: Path) -> ModelSession:
    build(tmp_path)
    return ModelSession.open(tmp_path)


def test_it_says_what_it_takes_and_gives(session: ModelSession) -> None:
    assert [(t.name, t.datatype, t.shape) for t in session.inputs] == [("history", "INT64", (-1, N))]
    assert [(t.name, t.datatype, t.shape) for t in session.outputs] == [
        ("items", "INT64", (-1, K)),
        ("scores", "FP32", (-1, K)),
    ]


def test_it_runs_and_gives_the_outputs_that_are_asked_for_in_that_order(session: ModelSession) -> None:
    history = np.array([[-1, -1, -1, 3], [-1, -1, 3, 4]], np.int64)
    scores, items = session.run({"history": history}, ["scores", "items"])
    assert items.tolist() == [[4, 5, 0], [5, 4, 6]]
    assert scores.tolist() == [[1.0, 0.5, 0.0], [1.5, 1.0, 0.5]]
    assert [a.shape for a in session.run({"history": history}, None)] == [(2, K), (2, K)]


def test_an_answer_does_not_depend_on_the_batch_it_is_in(session: ModelSession) -> None:
    rows = np.random.default_rng(0).integers(-1, 20, (50, N))
    together = session.run({"history": rows}, None)
    for at in range(len(rows)):
        for whole, alone in zip(together, session.run({"history": rows[at : at + 1]}, None), strict=True):
            assert np.array_equal(whole[at : at + 1], alone)


def test_strings_go_in_and_out(tmp_path: Path) -> None:
    build(tmp_path, echo())
    (same,) = ModelSession.open(tmp_path).run({"text": np.array(["ä", ""], object)}, None)
    assert same.tolist() == ["ä", ""]


def test_it_may_run_on_several_threads_at_once(session: ModelSession) -> None:
    def run(row: int) -> list[int]:
        items: list[int] = session.run({"history": np.full((1, N), row, np.int64)}, ["items"])[0][0].tolist()
        return items

    with ThreadPoolExecutor(4) as pool:
        assert [found[:2] for found in pool.map(run, range(10))] == [[row + 1, row + 2] for row in range(10)]


def test_a_row_that_the_graph_cannot_take_is_a_model_error(session: ModelSession) -> None:
    with pytest.raises(ModelInputError) as caught:
        session.run({"history": np.full((1, N), 99, np.int64)}, None)
    assert caught.value.kind == status_pb2.LOAD
    assert str(caught.value) == (
        "indices element out of data bounds, idx=99 must be within the inclusive range [-21,20] (operator Gather)"
    )


def test_a_run_that_fails_for_another_reason_is_not_blamed_on_its_input(session: ModelSession) -> None:
    with pytest.raises(ModelError) as caught:
        session.run({}, None)
    assert not isinstance(caught.value, ModelInputError)


def test_a_closed_one_does_not_run(session: ModelSession) -> None:
    session.close()
    with pytest.raises(ModelError) as caught:
        session.run({}, None)
    assert caught.value.kind == status_pb2.INTERNAL


@pytest.mark.parametrize("data", [b"", b"nothing", b"\xff" * 100])
def test_what_cannot_be_loaded_says_so(data: bytes, tmp_path: Path) -> None:
    (tmp_path / GRAPH).write_bytes(data)
    with pytest.raises(ModelError) as caught:
        ModelSession.open(tmp_path)
    assert caught.value.kind == status_pb2.LOAD
    assert str(caught.value)


def test_a_graph_of_ones_own_runs_in_this_process() -> None:
    (y,) = run_graph(doubler(), {"x": np.array([[1, 2]], np.float32)})
    assert y.tolist() == [[2, 4]]
    assert len(run_graph(recommender(), {"history": np.zeros((1, N), np.int64)})) == 2


def test_strings_beside_bf16_are_refused(tmp_path: Path) -> None:
    onnx.save(mirror(), tmp_path / GRAPH)
    with pytest.raises(ModelError, match="expected none of BYTES in a model with BF16 tensors") as caught:
        ModelSession.open(tmp_path)
    assert caught.value.rejected


def test_the_runtime_collects_no_telemetry(tmp_path: Path) -> None:
    home, models = tmp_path / "home", tmp_path / "models"
    home.mkdir()
    models.mkdir()
    onnx.save(doubler(), models / GRAPH)
    program = "import sys; from pathlib import Path; from serving.bundles.session import ModelSession as M\n"
    program += "M.open(Path(sys.argv[1]))"
    others = {name: value for name, value in os.environ.items() if not name.startswith(("ORT_", "XDG_"))}
    subprocess.run([sys.executable, "-c", program, models], env={**others, "HOME": str(home)}, check=True)
    assert list(home.iterdir()) == [], "a database of events, and a number of this device"
