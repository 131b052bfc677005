"""ModelInfers that are begun together get what each would get by itself."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from protos.inference import inference_pb2 as pb
from serving.errors import ExpiredError
from serving.models.table import ActiveTable
from serving.recommend.batcher import Batcher
from serving.recommend.infer import Inference
from serving.rpc.inference import InferenceService
from serving.rpc.method import Method
from serving.telemetry.metrics import Metrics
from tests.builders.bundles import load, serve
from tests.builders.graphs import N, doubler, positives
from tests.rpc.test_inference import request


class Told:
    """Who waits, for one call or for several."""

    def __init__(self) -> None:
        self.answers: list[pb.ModelInferResponse] = []
        self.errors: list[Exception] = []
        self.parted = False
        self.over = asyncio.Event()

    def give(self, found: bytes | Sequence[bytes | Exception | None]) -> None:
        answers = [found] if isinstance(found, bytes) else found
        self.answers = [pb.ModelInferResponse.FromString(cast("bytes", one)) for one in answers]
        self.over.set()

    def fail(self, error: Exception) -> None:
        self.errors.append(error)
        self.over.set()

    def apart(self) -> None:
        self.parted = True
        self.over.set()


class Served:
    """The method, in front of models."""

    def __init__(self, folder: Path, most: int = 64) -> None:
        table = ActiveTable()
        serve(table, load(folder / "d", "d", 2, doubler()))
        serve(table, load(folder / "picks", "picks", 1))
        serve(table, load(folder / "whole", "whole", 1, doubler(shape=(2,))))
        serve(table, load(folder / "positives", "positives", 1, positives()))
        self.registry = CollectorRegistry()
        self.batcher = Batcher(Metrics(self.registry), most)
        service = InferenceService(Inference(table, self.batcher), lambda: True, "1")
        self.method: Method = next(one for one in service.methods() if one.path.endswith("/ModelInfer"))

    async def alone(self, message: bytes) -> Told:
        told = Told()
        assert self.method.soon is not None
        assert self.method.soon(message, None, told) is not None
        await told.over.wait()
        return told

    async def together(self, messages: Sequence[bytes], deadline: float | None = None) -> Told | None:
        told = Told()
        assert self.method.together is not None
        if self.method.together(messages, deadline, told) is None:
            return None
        await told.over.wait()
        return told


def encoded(model: str, *rows: float, ident: str = "") -> bytes:
    made = request(model, "", *rows)
    made.id = ident
    return made.SerializeToString()


def picked(item: int) -> bytes:
    history = np.full((1, N), item, np.int64)
    made = pb.ModelInferRequest(model_name="picks", raw_input_contents=[history.tobytes()])
    made.inputs.add(name="history", datatype="INT64", shape=history.shape)
    return made.SerializeToString()


@pytest.mark.parametrize("rows", [1, 3])
def test_each_gets_its_own_rows(rows: int, tmp_path: Path) -> None:
    async def scene() -> None:
        served = Served(tmp_path)
        messages = [encoded("d", *range(10 * n, 10 * n + rows)) for n in range(1, 8)]
        expected = [(await served.alone(message)).answers[0] for message in messages]
        for _ in range(2):
            told = await served.together(messages)
            assert told is not None
            assert told.answers == expected
        served.batcher.close()
        runs = served.registry.get_sample_value("nearline_online_batch_rows_count", {"model": "d"})
        assert runs == 9, "seven by themselves, and two of all"

    asyncio.run(scene())


@pytest.mark.parametrize(
    "other",
    [
        encoded("d", 2, ident="7"),
        encoded("d", 2, 3),
        encoded("other", 2),
        b"no request",
        encoded("d", 2) + pb.ModelInferRequest(model_name="other").SerializeToString(),
    ],
)
def test_those_that_are_not_alike_are_not_begun(other: bytes, tmp_path: Path) -> None:
    async def scene() -> None:
        served = Served(tmp_path)
        await served.alone(encoded("d", 1))
        for messages in ([encoded("d", 1), other], [other, encoded("d", 1)]):
            assert await served.together(messages) is None
        served.batcher.close()

    asyncio.run(scene())


@pytest.mark.parametrize(("most", "rows"), [(1, 1), (7, 1), (64, 9)])
def test_more_rows_than_one_run_takes_are_not_begun_together(most: int, rows: int, tmp_path: Path) -> None:
    async def scene() -> None:
        served = Served(tmp_path, most)
        messages = [encoded("d", *range(rows)) for _ in range(8)]
        await served.alone(messages[0])
        assert await served.together(messages) is None
        served.batcher.close()

    asyncio.run(scene())


def test_a_model_whose_rows_are_not_independent_runs_each_by_itself(tmp_path: Path) -> None:
    async def scene() -> None:
        served = Served(tmp_path)
        made = pb.ModelInferRequest(model_name="whole", raw_input_contents=[np.zeros(2, np.float32).tobytes()])
        made.inputs.add(name="x", datatype="FP32", shape=[2])
        message = made.SerializeToString()
        assert (await served.alone(message)).answers
        assert await served.together([message, message]) is None
        served.batcher.close()

    asyncio.run(scene())


def test_a_model_that_gives_other_rows_than_it_takes_is_found_out(tmp_path: Path) -> None:
    async def scene() -> None:
        served = Served(tmp_path)
        made = pb.ModelInferRequest(model_name="positives", raw_input_contents=[np.ones(3, np.float32).tobytes()])
        made.inputs.add(name="x", datatype="FP32", shape=[3])
        few = made.SerializeToString()
        made.raw_input_contents[0] = np.array([1, 0, 0], np.float32).tobytes()
        messages = [few, made.SerializeToString()]
        await served.alone(few)
        told = await served.together(messages)
        assert told is not None
        assert told.parted
        assert await served.together(messages) is None
        served.batcher.close()

    asyncio.run(scene())


def test_values_that_the_model_does_not_take_part_them(tmp_path: Path) -> None:
    """So that only the one with them gets the error."""

    async def scene() -> None:
        served = Served(tmp_path)
        messages = [picked(0), picked(10**9), picked(1)]
        await served.alone(messages[0])
        told = await served.together(messages)
        assert told is not None
        assert (told.parted, told.answers, told.errors) == (True, [], [])
        served.batcher.close()

    asyncio.run(scene())


def test_those_whose_deadline_has_passed_are_told_so(tmp_path: Path) -> None:
    async def scene() -> None:
        served = Served(tmp_path)
        messages = [encoded("d", 1), encoded("d", 2)]
        await served.alone(messages[0])
        told = await served.together(messages, deadline=0.0)
        assert told is not None
        assert [type(error) for error in told.errors] == [ExpiredError]
        refused = {"model": "d", "reason": "deadline"}
        assert served.registry.get_sample_value("nearline_online_refused_total", refused) == 2
        served.batcher.close()

    asyncio.run(scene())
