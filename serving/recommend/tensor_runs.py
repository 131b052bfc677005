"""Tensors of several requests as one run: rows are put together, and the outputs cut up again."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from protos.nearline.v1 import status_pb2
from serving.errors import ModelError, ModelInputError
from serving.models.loaded import LoadedModel
from serving.models.outputs import check_outputs
from serving.models.pace import Pace
from serving.recommend.queue import Waiting
from serving.recommend.rooms import Rooms

Chunk = Any
"""A request's part of an input: bytes, a view of them or an array, in order in memory; of strings an object array."""
_JOINED = 1 << 16
"""Inputs of up to so many bytes are joined, which is fastest; larger ones go into an array that is kept."""


class Column(NamedTuple):
    """An input: name, dtype, and the shape of a row; of the whole tensor where requests run alone."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        return math.prod(self.shape) * self.dtype.itemsize


class TensorRuns:
    """See queue.Work. An item is a tuple of chunks, in the order of `inputs`; a result is a list of arrays."""

    def __init__(
        self, inputs: tuple[Column, ...], outputs: tuple[str, ...], *, whole: bool, rooms: Rooms, pace: Pace
    ) -> None:
        self.pace = pace
        self.alone = whole
        self._whole = whole
        self._inputs = inputs
        self._outputs = outputs
        self._rooms = rooms
        self._key = object()
        """Stands for this work among the rooms, which keep no work."""

    def run(self, loaded: LoadedModel, requests: Sequence[Waiting], rows: int) -> list[list[NDArray[Any]]]:
        """Return the outputs of each request; ModelError."""
        inputs = {
            column.name: self._gather(column, [request.item[at] for request in requests], rows)
            for at, column in enumerate(self._inputs)
        }
        results = self._results(loaded, inputs, rows)
        if len(requests) == 1 and requests[0].calls == 1:
            return [results]
        for name, result in zip(self._outputs, results, strict=True):
            if not result.ndim or len(result) != rows:
                self.alone = True  # the graph declares rows, and gives something else
                raise ModelError(status_pb2.LOAD, f"{name}: expected {rows} rows, got the shape {list(result.shape)}")
        found = []
        start = 0
        for request in requests:
            end = start + request.rows
            found.append([result[start:end] for result in results])
            start = end
        return found

    def _gather(self, column: Column, chunks: Sequence[Chunk], rows: int) -> NDArray[Any]:
        dtype = column.dtype
        shape = column.shape if self._whole else (rows, *column.shape)
        if dtype.hasobject:
            joined: NDArray[Any] = chunks[0] if len(chunks) == 1 else np.concatenate(chunks)
            return joined.reshape(shape)
        if len(chunks) == 1:
            array = np.frombuffer(chunks[0], dtype)
            return (array if array.flags.aligned else array.copy()).reshape(shape)
        size = rows * column.row_bytes
        if size <= _JOINED:
            return np.frombuffer(b"".join(chunks), dtype).reshape(shape)
        arrays = [np.frombuffer(chunk, dtype) for chunk in chunks]
        room = self._rooms.room(self._key, column.name, size // dtype.itemsize, dtype)
        return np.concatenate(arrays, out=room).reshape(shape)

    def _results(self, loaded: LoadedModel, inputs: dict[str, NDArray[Any]], rows: int) -> list[NDArray[Any]]:
        try:
            results = loaded.session.run(inputs, self._outputs)
            check_outputs(loaded, self._outputs, results, inputs)
        except ModelInputError:
            raise
        except ModelError as error:
            loaded.circuit.failed(error, rows)
            raise
        loaded.circuit.passed(rows)
        return results
