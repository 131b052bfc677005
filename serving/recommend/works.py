"""The work of each version, known by what can share a run: it keeps how long its runs take, and goes with it."""

from collections.abc import Sequence
from weakref import WeakKeyDictionary

from serving.bundles.datatypes import numpy_dtype
from serving.models.loaded import LoadedModel
from serving.models.pace import Pace
from serving.recommend.answering import Answering
from serving.recommend.rooms import Rooms
from serving.recommend.tensor_runs import Column, TensorRuns

_MOST = 1_000
"""Of a version there are more only when clients send ever new shapes: then all are forgotten."""
_Shapes = tuple[tuple[Column, ...], tuple[str, ...]]


class Works:
    """Used on the event loop."""

    def __init__(self) -> None:
        self._rooms = Rooms()
        self._tensors: WeakKeyDictionary[LoadedModel, dict[_Shapes, TensorRuns]] = WeakKeyDictionary()
        self._answering: WeakKeyDictionary[LoadedModel, Answering] = WeakKeyDictionary()

    def tensors(
        self, loaded: LoadedModel, inputs: Sequence[tuple[str, str, tuple[int, ...]]], outputs: tuple[str, ...]
    ) -> TensorRuns:
        """The work of requests with inputs of such names, datatypes and shapes that want such outputs."""
        whole = not batchable(loaded)
        columns = tuple(
            Column(name, numpy_dtype(datatype), shape if whole else shape[1:]) for name, datatype, shape in inputs
        )
        works = self._tensors.setdefault(loaded, {})
        work = works.get((columns, outputs))
        if work is None:
            if len(works) >= _MOST:
                works.clear()
            seen = loaded.seen
            if whole or (seen and any(seen.shapes[column.name] != column.shape for column in columns)):
                seen = None  # larger ones may take longer
            work = TensorRuns(columns, outputs, whole=whole, rooms=self._rooms, pace=Pace(seen))
            works[columns, outputs] = work
        return work

    def answering(self, loaded: LoadedModel) -> Answering:
        """The work of requests for recommendations."""
        work = self._answering.get(loaded)
        if work is None:
            work = self._answering[loaded] = Answering(alone=not batchable(loaded))
        return work


def batchable(loaded: LoadedModel) -> bool:
    """Tell whether every input and output has a first dimension of any size: rows are then independent."""
    tensors = (*loaded.session.inputs, *loaded.session.outputs)
    return all(tensor.shape and tensor.shape[0] == -1 for tensor in tensors)
