"""The use case ModelInfer: the tensors of one model, checked against its signature before anything runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from serving.bundles.datatypes import numpy_dtype
from serving.bundles.manifest import Tensor
from serving.errors import InvalidRequestError, ModelInputError, NotFoundError, UnavailableError
from serving.models.loaded import LoadedModel
from serving.models.table import ActiveTable
from serving.recommend.batcher import Batcher


@dataclass(frozen=True, slots=True)
class Inferred:
    """The answer, and which version gave it."""

    version: int
    outputs: list[tuple[Tensor, NDArray[Any]]]


@dataclass(frozen=True, slots=True)
class Signature:
    """What a served model takes and gives."""

    versions: tuple[int, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


class Inference:
    """Used on the event loop of a serving worker."""

    def __init__(self, table: ActiveTable, batcher: Batcher) -> None:
        self._table = table
        self._batcher = batcher

    async def infer(
        self, model: str, version: int | None, arrays: Mapping[str, NDArray[Any]], outputs: Sequence[str]
    ) -> Inferred:
        """Run a model; InvalidRequestError names the tensor, what was expected and what came.

        What only the graph can tell (an index beyond its table) is one, too, in the runtime's words.
        """
        with self._table.lease(model, version=version) as loaded:
            names = _outputs(loaded, outputs)
            _check(loaded, arrays)
            try:
                results = await self._batcher.run(loaded, arrays, names)
            except ModelInputError as error:
                raise InvalidRequestError("inputs", "values that the model takes", f"an error: {error}") from error
            tensors = {tensor.name: tensor for tensor in loaded.session.outputs}
            found = [(tensors[name], result) for name, result in zip(names, results, strict=True)]
            return Inferred(loaded.version, found)

    def ready(self, model: str, version: int | None) -> bool:
        """Tell whether a model, or that version of it, serves."""
        try:
            with self._table.lease(model, version=version):
                return True
        except (NotFoundError, UnavailableError):
            return False

    def signature(self, model: str, version: int | None) -> Signature:
        """Describe a served version; NotFoundError or UnavailableError."""
        with self._table.lease(model, version=version) as loaded:
            versions = tuple(sorted(self._table.lookup(model).versions))
            return Signature(versions, loaded.session.inputs, loaded.session.outputs)


def _outputs(loaded: LoadedModel, asked: Sequence[str]) -> list[str]:
    known = [tensor.name for tensor in loaded.session.outputs]
    for name in asked:
        if name not in known:
            raise InvalidRequestError("outputs", f"some of {known}", repr(name))
    return list(asked) or known


def _check(loaded: LoadedModel, arrays: Mapping[str, NDArray[Any]]) -> None:
    expected = {tensor.name: tensor for tensor in loaded.session.inputs}
    if set(arrays) != set(expected):
        raise InvalidRequestError("inputs", f"{sorted(expected)}", f"{sorted(arrays)}")
    rows = None
    for name, tensor in expected.items():
        array = arrays[name]
        field = f"input {name!r}"
        wanted = numpy_dtype(tensor.datatype)
        if array.dtype != wanted:
            raise InvalidRequestError(field, f"datatype {tensor.datatype}", array.dtype)
        fits = len(array.shape) == len(tensor.shape) and all(
            size in {-1, actual} for size, actual in zip(tensor.shape, array.shape, strict=True)
        )
        if not fits:
            raise InvalidRequestError(field, f"shape {list(tensor.shape)}", list(array.shape))
        if tensor.shape and tensor.shape[0] == -1:
            if rows is not None and array.shape[0] != rows:
                raise InvalidRequestError(field, f"{rows} rows like the other inputs", array.shape[0])
            rows = array.shape[0]
            if rows == 0:
                raise InvalidRequestError(field, "at least one row", "none")
