"""Tensors as a request describes them, compared with what a model takes and gives. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from serving.bundles.manifest import Tensor
from serving.errors import InvalidRequestError


class Given(NamedTuple):
    """An input as a request describes it."""

    name: str
    datatype: str
    shape: tuple[int, ...]


def outputs_of(known: tuple[Tensor, ...], asked: Sequence[str]) -> tuple[Tensor, ...]:
    """Return the outputs that are asked for, by name; all where none is. InvalidRequestError."""
    tensors = {tensor.name: tensor for tensor in known}
    for name in asked:
        if name not in tensors:
            raise InvalidRequestError("outputs", f"some of {list(tensors)}", repr(name))
    return tuple(tensors[name] for name in asked) or known


def rows_of(tensors: Sequence[Tensor], given: Sequence[Given]) -> int:
    """Return how many rows there are; 1 where no input has any. InvalidRequestError names what does not fit."""
    expected = {tensor.name: tensor for tensor in tensors}
    if len(given) != len(expected) or {one.name for one in given} != set(expected):
        raise InvalidRequestError("inputs", f"{sorted(expected)}", f"{sorted(one.name for one in given)}")
    rows = None
    for name, datatype, shape in given:
        tensor = expected[name]
        field = f"input {name!r}"
        if datatype != tensor.datatype:
            raise InvalidRequestError(field, f"datatype {tensor.datatype}", datatype)
        fits = len(shape) == len(tensor.shape) and all(
            size in {-1, actual} for size, actual in zip(tensor.shape, shape, strict=True)
        )
        if not fits:
            raise InvalidRequestError(field, f"shape {list(tensor.shape)}", list(shape))
        if tensor.shape and tensor.shape[0] == -1:
            if rows is not None and shape[0] != rows:
                raise InvalidRequestError(field, f"{rows} rows like the other inputs", shape[0])
            rows = shape[0]
            if rows == 0:
                raise InvalidRequestError(field, "at least one row", "none")
    return rows or next((shape[0] for _, _, shape in given if shape), 1)
