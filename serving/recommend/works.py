"""The work of each version, known by what can share a run: it keeps how long its runs take. Bounded.

Versions come and go: what is kept here holds none of them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.models.loaded import LoadedModel
from serving.recommend.answering import Answering
from serving.recommend.queue import Work
from serving.recommend.tensor_runs import Column, TensorRuns

_MOST = 1_000
"""More are known only when clients send ever new shapes, or versions come by the thousand: then all are forgotten."""

Columns = tuple[Column, ...]


class Works:
    """Used on the event loop."""

    def __init__(self) -> None:
        self._tensors: dict[tuple[object, ...], TensorRuns] = {}
        self._answering: dict[tuple[str, int, str], Answering] = {}

    def tensors(self, loaded: LoadedModel, inputs: Columns, outputs: tuple[str, ...]) -> TensorRuns:
        """The work of requests with such inputs that want such outputs."""
        key = (loaded.model, loaded.version, loaded.digest, inputs, outputs)
        work = self._tensors.get(key)
        if work is None:
            if len(self._tensors) >= _MOST:
                self._tensors.clear()
            work = self._tensors[key] = TensorRuns(inputs, outputs, whole=not batchable(loaded))
        return work

    def answering(self, loaded: LoadedModel) -> Answering:
        """The work of requests for recommendations."""
        key = (loaded.model, loaded.version, loaded.digest)
        work = self._answering.get(key)
        if work is None:
            if len(self._answering) >= _MOST:
                self._answering.clear()
            work = self._answering[key] = Answering(alone=not batchable(loaded))
        return work


def item_of(
    works: Works, loaded: LoadedModel, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str]
) -> tuple[Work, tuple[NDArray[Any], ...], int]:
    """Return how arrays that a request gives by name are run, as an item, and how many rows they are."""
    names = sorted(inputs)
    arrays = tuple(np.ascontiguousarray(inputs[name]) for name in names)
    skipped = 1 if batchable(loaded) else 0
    columns = tuple(Column(name, inputs[name].dtype, inputs[name].shape[skipped:]) for name in names)
    rows = next((array.shape[0] for array in inputs.values() if array.ndim), 1)
    return works.tensors(loaded, columns, tuple(outputs)), arrays, rows


def batchable(loaded: LoadedModel) -> bool:
    """Tell whether every input and output has a first dimension of any size: rows are then independent."""
    tensors = (*loaded.session.inputs, *loaded.session.outputs)
    return all(tensor.shape and tensor.shape[0] == -1 for tensor in tensors)
