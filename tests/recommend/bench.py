"""A batcher, and work for it."""

import asyncio
import threading
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from numpy.typing import NDArray
from prometheus_client import CollectorRegistry

from protos.nearline.v1 import status_pb2
from serving.errors import ModelError
from serving.models.loaded import LoadedModel
from serving.models.pace import Pace
from serving.recommend.batcher import Batcher
from serving.recommend.queue import Waiting
from serving.recommend.tensor_runs import TensorRuns
from serving.telemetry.metrics import Metrics
from tests.recommend.sessions import datatype_of


class Noted:
    """Work that tells which thread ran it, or another name."""

    def __init__(self, log: list[str], name: str = "") -> None:
        self.pace = Pace()
        self.alone = False
        self._log = log
        self._name = name

    def run(self, _loaded: LoadedModel, requests: Sequence[Waiting], _rows: int) -> list[Any]:
        self._log.append(self._name or threading.current_thread().name)
        return [request.item for request in requests]


class Failing:
    """Work that nobody gets done."""

    def __init__(self) -> None:
        self.pace = Pace()
        self.alone = False
        self.runs = 0

    def run(self, _loaded: LoadedModel, _requests: Sequence[Waiting], _rows: int) -> list[Any]:
        self.runs += 1
        raise ModelError(status_pb2.LOAD, "no")


class Miscounting(Noted):
    """Work with one result too few, or too many, until it is mended."""

    def __init__(self, more: int) -> None:
        super().__init__([])
        self._more = more
        self.mended = False

    def run(self, loaded: LoadedModel, requests: Sequence[Waiting], rows: int) -> list[Any]:
        found = super().run(loaded, requests, rows)
        return found if self.mended else [*found, 0][: len(found) + self._more]


class Bench:
    def __init__(self, max_rows: int, **more: Any) -> None:
        self.registry = CollectorRegistry()
        self.batcher = Batcher(Metrics(self.registry), max_rows, **more)

    def work(self, model: LoadedModel) -> TensorRuns:
        """Of the doubler."""
        return self.batcher.works.tensors(model, [("x", "FP32", (1, 2))], ("y",))

    def refused(self, reason: str, model: str = "m") -> float | None:
        """How many requests were not run."""
        return self.registry.get_sample_value("nearline_online_refused_total", {"model": model, "reason": reason})

    async def run(
        self, model: LoadedModel, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str], **more: Any
    ) -> list[NDArray[Any]]:
        """The named outputs."""
        given = [(name, datatype_of(array), array.shape) for name, array in sorted(inputs.items())]
        work = self.batcher.works.tensors(model, given, tuple(outputs))
        chunks = tuple(inputs[name] for name, _, _ in given)
        rows = next((shape[0] for _, _, shape in given if shape), 1)
        found: list[NDArray[Any]] = await self.batcher.submit(model, work, chunks, rows=rows, **more)
        return found

    def ran(self, model: str = "m") -> tuple[float | None, float | None]:
        """How many runs, and of how many rows in all."""
        self.batcher.count()
        sample = self.registry.get_sample_value
        name, labels = "nearline_online_batch_rows", {"model": model}
        return sample(f"{name}_count", labels), sample(f"{name}_sum", labels)


@contextmanager
def bench(max_rows: int = 64, **more: Any) -> Iterator[Bench]:
    made = Bench(max_rows, **more)
    try:
        yield made
    finally:
        made.batcher.close()


def gather(*calls: Awaitable[Any]) -> list[Any]:
    async def run() -> list[Any]:
        return await asyncio.gather(*calls, return_exceptions=True)

    return asyncio.run(run())


def values(results: list[NDArray[Any]]) -> list[float]:
    return [float(row[0]) for row in results[0]]
