"""The work of each version, known by what can share a run: it keeps how long its runs take. Bounded.

Versions come and go: what is kept here holds none of them.
"""

from collections.abc import Sequence

from serving.bundles.datatypes import numpy_dtype
from serving.models.loaded import LoadedModel
from serving.recommend.answering import Answering
from serving.recommend.tensor_runs import Column, TensorRuns

_MOST = 1_000
"""There are more only when clients send ever new shapes, or versions come by the thousand: then all are forgotten."""


class Works:
    """Used on the event loop."""

    def __init__(self) -> None:
        self._tensors: dict[tuple[object, ...], TensorRuns] = {}
        self._answering: dict[tuple[str, int, str], Answering] = {}

    def tensors(
        self, loaded: LoadedModel, inputs: Sequence[tuple[str, str, tuple[int, ...]]], outputs: tuple[str, ...]
    ) -> TensorRuns:
        """The work of requests with inputs of such names, datatypes and shapes that want such outputs."""
        whole = not batchable(loaded)
        columns = tuple(
            Column(name, numpy_dtype(datatype), shape if whole else shape[1:]) for name, datatype, shape in inputs
        )
        key = (loaded.model, loaded.version, loaded.digest, columns, outputs)
        work = self._tensors.get(key)
        if work is None:
            if len(self._tensors) >= _MOST:
                self._tensors.clear()
            work = self._tensors[key] = TensorRuns(columns, outputs, whole=whole)
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


def batchable(loaded: LoadedModel) -> bool:
    """Tell whether every input and output has a first dimension of any size: rows are then independent."""
    tensors = (*loaded.session.inputs, *loaded.session.outputs)
    return all(tensor.shape and tensor.shape[0] == -1 for tensor in tensors)
