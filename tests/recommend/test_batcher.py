"""Requests that arrive together run together."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from serving.errors import ModelInputError
from serving.models.loaded import LoadedModel
from serving.recommend.works import batchable
from tests.builders.bundles import load
from tests.builders.graphs import doubler, echo
from tests.recommend.bench import Bench, bench, gather, values
from tests.recommend.sessions import held, x


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load(tmp_path_factory.mktemp("bundle"), graph=doubler())


def test_requests_of_one_tick_run_as_one_batch_and_each_gets_its_rows(model: LoadedModel) -> None:
    with bench() as b:
        found = gather(*(b.run(model, x(*rows), ["y"]) for rows in ((1, 2), (3,), (4, 5, 6))))
        assert [values(results) for results in found] == [[2, 4], [6], [8, 10, 12]]
        assert b.ran() == (1, 6)


def test_what_came_while_a_batch_ran_is_the_next_one(model: LoadedModel) -> None:
    slow, session = held(model)

    async def scene(b: Bench) -> None:
        first = asyncio.create_task(b.run(slow, x(1), ["y"]))
        await session.wait_run()
        rest = [asyncio.create_task(b.run(slow, x(n), ["y"])) for n in range(5)]
        await asyncio.sleep(0)
        session.gate.set()
        assert [values(r) for r in await asyncio.gather(first, *rest)] == [[2], [0], [2], [4], [6], [8]]

    with bench() as b:
        asyncio.run(scene(b))
        assert session.runs == [1, 5]


def test_a_batch_has_a_largest_size_but_a_larger_request_still_runs(model: LoadedModel) -> None:
    with bench(max_rows=4) as b:
        found = gather(*(b.run(model, x(*rows), ["y"]) for rows in ((1, 1, 1), (2, 2), (3,) * 9)))
        assert [len(results[0]) for results in found] == [3, 2, 9]
        assert b.ran() == (3, 14)


def test_different_shapes_and_outputs_run_apart(tmp_path: Path) -> None:
    model = load(tmp_path, graph=doubler(("batch", "width")))
    wide = {"x": np.ones((1, 3), np.float32)}
    with bench() as b:
        found = gather(*(b.run(model, inputs, ["y"]) for inputs in (x(1), wide, x(2), wide)))
        assert [results[0].shape for results in found] == [(1, 2), (1, 3), (1, 2), (1, 3)]
        assert b.ran() == (2, 4)


def test_models_whose_rows_are_not_independent_run_alone(tmp_path: Path) -> None:
    model = load(tmp_path, graph=doubler((1, 2)))
    assert not batchable(model)
    with bench() as b:
        found = gather(*(b.run(model, x(n), ["y"]) for n in (1, 2, 3)))
        assert [values(results) for results in found] == [[2], [4], [6]]
        assert b.ran() == (3, 3)


def test_a_single_number_runs(tmp_path: Path) -> None:
    model = load(tmp_path, graph=doubler(()))
    with bench() as b:
        (results,) = gather(b.run(model, {"x": np.array(4, np.float32)}, ["y"]))
        assert results[0] == 8


def test_strings_are_batched_too(tmp_path: Path) -> None:
    model = load(tmp_path, graph=echo())
    with bench() as b:
        found = gather(*(b.run(model, {"text": np.array([t], object)}, ["same"]) for t in "ab"))
        assert [results[0].tolist() for results in found] == [["a"], ["b"]]
        assert b.ran() == (1, 2)


def test_an_error_goes_to_the_request_that_causes_it_and_the_rest_of_its_batch_is_answered(tmp_path: Path) -> None:
    model = load(tmp_path)
    bad, good = ({"history": np.full((1, 4), row, np.int64)} for row in (99, 1))
    with bench() as b:
        found = gather(*(b.run(model, inputs, ["items"]) for inputs in (good, bad, good)))
        assert [type(result) for result in found] == [list, ModelInputError, list]
        (results,) = gather(b.run(model, good, ["items"]))
        assert results[0].shape == (1, 3)


def test_a_caller_that_is_gone_before_the_run_is_left_out(model: LoadedModel) -> None:
    slow, session = held(model)

    async def scene(b: Bench) -> None:
        first = asyncio.create_task(b.run(slow, x(1), ["y"]))
        await session.wait_run()
        gone, stays = (asyncio.create_task(b.run(slow, x(n), ["y"])) for n in (2, 3))
        await asyncio.sleep(0)
        gone.cancel()
        first.cancel()
        session.gate.set()
        assert values(await stays) == [6]
        assert all(
            isinstance(r, asyncio.CancelledError) for r in await asyncio.gather(gone, first, return_exceptions=True)
        )

    with bench() as b:
        asyncio.run(scene(b))
        assert session.runs == [1, 1]


def test_when_all_callers_are_gone_the_model_answers_the_next_one(model: LoadedModel) -> None:
    async def scene(b: Bench) -> None:
        gone = [asyncio.create_task(b.run(model, x(1), ["y"])) for _ in range(3)]
        await asyncio.sleep(0)
        for task in gone:
            task.cancel()
        await asyncio.gather(*gone, return_exceptions=True)
        assert values(await b.run(model, x(5), ["y"])) == [10]

    with bench() as b:
        asyncio.run(scene(b))
        assert b.batcher._queues == {}


def test_versions_are_not_mixed(tmp_path: Path) -> None:
    one, other = (load(tmp_path / str(n), "m", n, doubler()) for n in (1, 2))
    with bench() as b:
        gather(b.run(one, x(1), ["y"]), b.run(other, x(1), ["y"]))
        assert b.ran() == (2, 2)
