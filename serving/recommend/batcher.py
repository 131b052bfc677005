"""Requests that arrive together run as one ONNX batch: whatever came while the last batch ran is the next one.

No timer, so no added latency while idle. Runs happen on a few threads, so that the event loop stays live.
"""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.models.loaded import LoadedModel
from serving.telemetry.metrics import Metrics

Arrays = Mapping[str, NDArray[Any]]
_THREADS = 4


@dataclass(slots=True)
class _Waiting:
    inputs: Arrays
    rows: int
    outputs: tuple[str, ...]
    answer: asyncio.Future[list[NDArray[Any]]]

    @property
    def shape(self) -> tuple[object, ...]:
        """Only requests alike in all but the number of rows can share a run."""
        return (self.outputs, *((n, a.dtype.str, a.shape[1:]) for n, a in sorted(self.inputs.items())))


class Batcher:
    """Used on one event loop. The caller holds a lease on the model until its answer is there."""

    def __init__(self, metrics: Metrics, max_rows: int) -> None:
        self._metrics = metrics
        self._max_rows = max_rows
        self._waiting: dict[LoadedModel, deque[_Waiting]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="online")

    async def run(self, loaded: LoadedModel, inputs: Arrays, outputs: Sequence[str]) -> list[NDArray[Any]]:
        """Return the named outputs for the rows given; ModelError when the run fails."""
        answer: asyncio.Future[list[NDArray[Any]]] = asyncio.get_running_loop().create_future()
        rows = next((array.shape[0] for array in inputs.values() if array.ndim), 1)
        waiting = self._waiting.get(loaded)
        request = _Waiting(inputs, rows, tuple(outputs), answer)
        if waiting is not None:
            waiting.append(request)
        else:
            self._waiting[loaded] = deque([request])
            task = asyncio.get_running_loop().create_task(self._drain(loaded))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await answer

    def close(self) -> None:
        """End the threads once their runs are over."""
        self._threads.shutdown(wait=False)

    async def _drain(self, loaded: LoadedModel) -> None:
        waiting = self._waiting[loaded]
        await asyncio.sleep(0)  # lets the other requests of this tick in
        while waiting:
            await asyncio.gather(*(self._run(loaded, alike) for alike in self._take(loaded, waiting)))
        del self._waiting[loaded]

    def _take(self, loaded: LoadedModel, waiting: deque[_Waiting]) -> list[list[_Waiting]]:
        """Split what waits into runs."""
        taken: list[_Waiting] = []
        rows = 0
        while waiting and (not taken or rows + waiting[0].rows <= self._max_rows):
            request = waiting.popleft()
            if not request.answer.done():  # its caller may be gone
                taken.append(request)
                rows += request.rows
        if not batchable(loaded):
            return [[request] for request in taken]
        taken.sort(key=lambda request: repr(request.shape))
        return [list(alike) for _, alike in groupby(taken, key=lambda request: request.shape)]

    async def _run(self, loaded: LoadedModel, requests: list[_Waiting]) -> None:
        loop = asyncio.get_running_loop()
        first = requests[0]
        inputs = first.inputs
        self._metrics.online_rows.labels(loaded.model).observe(sum(request.rows for request in requests))
        try:
            if len(requests) > 1:
                inputs = {name: np.concatenate([request.inputs[name] for request in requests]) for name in inputs}
            results = await loop.run_in_executor(self._threads, loaded.session.run, inputs, first.outputs)
        except Exception as error:  # noqa: BLE001 - the waiting request gets it
            if len(requests) > 1:  # one bad row fails the whole run: the others shall not suffer for it
                await asyncio.gather(*(self._run(loaded, [request]) for request in requests))
            elif not first.answer.done():
                first.answer.set_exception(error)
            return
        start = 0
        for request in requests:
            if not request.answer.done():
                part = results if len(requests) == 1 else [r[start : start + request.rows] for r in results]
                request.answer.set_result(part)
            start += request.rows


def batchable(loaded: LoadedModel) -> bool:
    """Tell whether every input and output has a first dimension of any size: rows are then independent."""
    tensors = (*loaded.session.inputs, *loaded.session.outputs)
    return all(tensor.shape and tensor.shape[0] == -1 for tensor in tensors)
