"""ModelInfer: checked before anything runs."""

import asyncio
import time
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry

from serving.errors import InvalidRequestError, NotFoundError, UnavailableError
from serving.models.table import ActiveModel, ActiveTable
from serving.recommend.batcher import Batcher
from serving.recommend.given import Given
from serving.recommend.infer import Inference, Inferred, Wanted
from serving.telemetry.metrics import Metrics
from tests.builders.bundles import load, serve
from tests.builders.graphs import N, doubler, echo
from tests.recommend.sessions import datatype_of, x


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> ActiveTable:
    folder = tmp_path_factory.mktemp("bundles")
    table = ActiveTable()
    serve(table, *(load(folder / f"d{n}", "d", n, doubler()) for n in (1, 2)))
    serve(table, load(folder / "fixed", "fixed", 1, doubler((3, 2))))
    serve(table, load(folder / "echo", "echo", 1, echo()))
    serve(table, load(folder / "shop", "shop", 1))
    table.swap(ActiveModel("waiting", (), (), {}))
    return table


@pytest.fixture
def inference(table: ActiveTable) -> Inference:
    return Inference(table, Batcher(Metrics(CollectorRegistry()), 64))


def infer(
    inference: Inference, arrays: dict[str, NDArray[Any]], model: str = "d", version: int | None = None, *outputs: str
) -> Inferred:
    given = tuple(Given(name, datatype_of(array), array.shape) for name, array in arrays.items())
    wanted = Wanted(model, version, given, outputs)
    try:
        return asyncio.run(inference.infer(wanted, tuple(arrays.values()), 0))
    finally:
        inference._batcher.close()


def test_the_answer_names_the_version_that_gave_it(inference: Inference) -> None:
    found = infer(inference, x(1, 2), "d", 2)
    assert found.version == 2
    ((tensor, array),) = found.outputs
    assert (tensor.name, array.tolist()) == ("y", [[2, 2], [4, 4]])


def test_values_that_the_graph_does_not_take_are_the_requests_fault(inference: Inference) -> None:
    arrays = {"history": np.full((1, N), 99, np.int64)}
    with pytest.raises(InvalidRequestError, match=r"^inputs: expected values that the model takes, .* idx=99 must be"):
        infer(inference, arrays, "shop")


def test_strings_go_in_and_out(inference: Inference) -> None:
    assert infer(inference, {"text": np.array(["a"], object)}, "echo").outputs[0][1].tolist() == ["a"]


@pytest.mark.parametrize(
    ("model", "arrays", "outputs", "message"),
    [
        ("d", {}, (), "inputs: expected ['x'], got []"),
        ("d", {**x(1), "more": x(1)["x"]}, (), "inputs: expected ['x'], got ['more', 'x']"),
        ("d", {"x": np.ones((1, 2))}, (), "input 'x': expected datatype FP32, got FP64"),
        ("d", {"x": np.ones((1, 3), np.float32)}, (), "input 'x': expected shape [-1, 2], got [1, 3]"),
        ("d", {"x": np.ones(2, np.float32)}, (), "input 'x': expected shape [-1, 2], got [2]"),
        ("d", {"x": np.ones((1, 2, 1), np.float32)}, (), "input 'x': expected shape [-1, 2], got [1, 2, 1]"),
        ("d", {"x": np.ones((0, 2), np.float32)}, (), "input 'x': expected at least one row, got none"),
        ("fixed", x(1), (), "input 'x': expected shape [3, 2], got [1, 2]"),
        ("echo", {"text": np.ones(1)}, (), "input 'text': expected datatype BYTES, got FP64"),
        ("d", x(1), ("z",), "outputs: expected some of ['y'], got 'z'"),
    ],
)
def test_a_wrong_tensor_is_named_with_what_was_expected_and_what_came(
    inference: Inference, model: str, arrays: dict[str, NDArray[Any]], outputs: tuple[str, ...], message: str
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        infer(inference, arrays, model, None, *outputs)
    assert str(caught.value) == message


def test_what_does_not_serve_is_not_found_or_unavailable(inference: Inference) -> None:
    for model, version, kind in (
        ("no", None, NotFoundError),
        ("d", 9, NotFoundError),
        ("waiting", None, UnavailableError),
    ):
        with pytest.raises(kind):
            infer(inference, x(1), model, version)
        assert not inference.ready(model, version)
    assert inference.ready("d", 1)


def test_the_signature_names_all_versions_that_serve(inference: Inference) -> None:
    signature = inference.signature("d", None)
    assert signature.versions == (1, 2)
    assert [(t.name, t.shape) for t in (*signature.inputs, *signature.outputs)] == [("x", (-1, 2)), ("y", (-1, 2))]


def test_no_lease_is_left_behind(table: ActiveTable, inference: Inference) -> None:
    with pytest.raises(InvalidRequestError):
        infer(inference, {})
    assert all(loaded._leases == 0 for active in table.current.values() for loaded in active.versions.values())


@pytest.mark.parametrize("expired", [False, True])
def test_a_request_that_is_cancelled_just_when_it_is_answered_holds_up_nobody(
    table: ActiveTable, *, expired: bool
) -> None:
    async def run() -> Inferred:
        batcher = Batcher(Metrics(CollectorRegistry()), 8)
        inference = Inference(table, batcher)
        values = np.ones((1, 2), np.float32).tobytes()
        wanted = Wanted("d", 1, (Given("x", "FP32", (1, 2)),))
        deadline = time.monotonic() + 1
        task = asyncio.ensure_future(inference.infer(wanted, (values,), 8))
        late = asyncio.ensure_future(inference.infer(wanted, (values,), 8, deadline))
        await asyncio.sleep(0)
        while expired and time.monotonic() <= deadline:
            pass  # nothing of the loop may run meanwhile
        task.cancel()
        late.cancel()
        batcher._tick()
        found = await asyncio.wait_for(inference.infer(wanted, (values,), 8), 30)
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(asyncio.CancelledError):
            await late
        batcher.close()
        return found

    assert asyncio.run(run()).version == 1
    assert all(loaded._leases == 0 for active in table.current.values() for loaded in active.versions.values())
