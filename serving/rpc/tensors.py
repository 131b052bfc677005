"""Values of the Open Inference Protocol to arrays; sizes are checked before anything is allocated."""

import math
from collections.abc import Sequence
from struct import Struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protos.inference import inference_pb2
from serving.bundles.datatypes import DATATYPES, numpy_dtype
from serving.errors import InvalidRequestError
from serving.recommend.given import Given
from serving.recommend.tensor_runs import Chunk

_LENGTH = Struct("<I")
_MAX_RANK = 32
"""numpy's own limit is 64; a message may name hundreds of thousands, whose product alone would take minutes."""
_MAX_ELEMENTS = 1 << 40
_LOOKED_AT = frozenset(("BOOL", "BYTES"))
_TYPED = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


def describe(tensor: inference_pb2.ModelInferRequest.InferInputTensor) -> Given:
    """Return what an input is said to be; InvalidRequestError names it."""
    field = f"input {tensor.name!r}"
    if tensor.datatype not in DATATYPES:
        raise InvalidRequestError(field, f"a datatype such as {', '.join(DATATYPES)}", repr(tensor.datatype))
    return Given(tensor.name, tensor.datatype, _shape(field, tensor.shape))


def size_of(given: Given) -> int:
    """Return how many bytes its raw values have; -1 where `read_raw` has to look at them."""
    if given.datatype in _LOOKED_AT:
        return -1
    return math.prod(given.shape) * numpy_dtype(given.datatype).itemsize


def read_raw(given: Given, data: Chunk) -> Chunk:
    """Return raw values, checked; InvalidRequestError names the input."""
    field = f"input {given.name!r}"
    if given.datatype == "BYTES":
        return _filled(field, *_elements(field, bytes(data), math.prod(given.shape)), given.shape)
    size = math.prod(given.shape) * numpy_dtype(given.datatype).itemsize
    if len(data) != size:
        raise InvalidRequestError(field, f"{size} bytes for {given.datatype} {list(given.shape)}", len(data))
    if given.datatype == "BOOL" and (strange := bytes(data).translate(None, b"\0\1")):
        raise InvalidRequestError(field, "bytes of 0 or 1", strange[0])
    return data


def read_typed(given: Given, tensor: inference_pb2.ModelInferRequest.InferInputTensor) -> NDArray[Any]:
    """Return typed values as an array; InvalidRequestError names the input."""
    field = f"input {given.name!r}"
    shape = given.shape
    name = _TYPED.get(given.datatype)
    if name is None:
        raise InvalidRequestError(field, "raw_input_contents for 16-bit floats", "typed contents")
    values = getattr(tensor.contents, name)
    if given.datatype == "BYTES":
        return _filled(field, [_text(field, value) for value in values], len(values), shape)
    if len(values) != math.prod(shape):
        raise InvalidRequestError(field, f"{math.prod(shape)} elements in {name} for {list(shape)}", len(values))
    dtype = numpy_dtype(given.datatype)
    wide = np.array(values, dtype=np.float64 if dtype.kind == "f" else None)
    if (
        dtype.kind in "iu"
        and wide.size
        and not (np.iinfo(dtype).min <= wide.min() and wide.max() <= np.iinfo(dtype).max)
    ):
        raise InvalidRequestError(field, f"elements within {given.datatype}", f"{wide.min()} to {wide.max()}")
    return wide.astype(dtype).reshape(shape)


def _shape(field: str, shape: Sequence[int]) -> tuple[int, ...]:
    if len(shape) > _MAX_RANK:
        raise InvalidRequestError(field, f"a shape of at most {_MAX_RANK} sizes", len(shape))
    if any(size < 0 for size in shape):
        raise InvalidRequestError(field, "a shape without negative sizes", list(shape))
    # numpy refuses a shape whose sizes multiply to too much even when one of them is 0.
    if math.prod(size or 1 for size in shape) > _MAX_ELEMENTS:
        raise InvalidRequestError(field, f"a shape of at most {_MAX_ELEMENTS} elements", list(shape))
    return tuple(shape)


def _elements(field: str, data: bytes, most: int) -> tuple[list[str], int]:
    """Return the first so many strings, and how many there are."""
    found: list[str] = []
    count = start = 0
    while start < len(data):
        if start + _LENGTH.size > len(data):
            raise InvalidRequestError(field, "a length of 4 bytes before each element", f"{len(data) - start} bytes")
        (size,) = _LENGTH.unpack_from(data, start)
        start += _LENGTH.size
        if start + size > len(data):
            raise InvalidRequestError(field, f"an element of {size} bytes", f"{len(data) - start} bytes")
        if count < most:
            found.append(_text(field, data[start : start + size]))
        count += 1
        start += size
    return found, count


def _filled(field: str, values: list[str], count: int, shape: tuple[int, ...]) -> NDArray[Any]:
    if count != math.prod(shape):
        raise InvalidRequestError(field, f"{math.prod(shape)} elements for {list(shape)}", count)
    array = np.empty(count, object)
    array[:] = values
    return array.reshape(shape)


def _text(field: str, data: bytes) -> str:
    """ONNX strings are UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequestError(field, "elements in UTF-8", error.reason) from error
