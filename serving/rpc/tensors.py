"""Tensors of the Open Inference Protocol to and from arrays; sizes are checked before anything is allocated."""

import math
from collections.abc import Iterator, Sequence
from struct import Struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protos.inference import inference_pb2
from serving.bundles.datatypes import numpy_dtype
from serving.bundles.manifest import Tensor
from serving.errors import InvalidRequestError

_LENGTH = Struct("<I")
_MAX_RANK = 32
"""numpy's own limit is 64; a message may name hundreds of thousands, whose product alone would take minutes."""
_MAX_ELEMENTS = 1 << 40
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


def read_inputs(request: inference_pb2.ModelInferRequest) -> dict[str, NDArray[Any]]:
    """Return the request's inputs by name; InvalidRequestError names the tensor."""
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise InvalidRequestError("raw_input_contents", f"one for each of the {len(request.inputs)} inputs", len(raw))
    arrays: dict[str, NDArray[Any]] = {}
    for index, tensor in enumerate(request.inputs):
        if tensor.name in arrays:
            raise InvalidRequestError("inputs", "each name once", f"{tensor.name!r} twice")
        field = f"input {tensor.name!r}"
        shape = _shape(field, tensor.shape)
        if raw and tensor.HasField("contents"):
            raise InvalidRequestError(field, "raw_input_contents or contents", "both")
        arrays[tensor.name] = (
            _from_raw(field, tensor.datatype, shape, raw[index]) if raw else _from_typed(field, tensor, shape)
        )
    return arrays


def write_output(tensor: Tensor, array: NDArray[Any], response: inference_pb2.ModelInferResponse) -> None:
    """Append an output to the response, raw."""
    response.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=array.shape)
    if tensor.datatype == "BYTES":
        parts = (_bytes(value) for value in array.ravel())
        response.raw_output_contents.append(b"".join(_LENGTH.pack(len(part)) + part for part in parts))
    else:
        response.raw_output_contents.append(np.ascontiguousarray(array).tobytes())


def _shape(field: str, shape: Sequence[int]) -> tuple[int, ...]:
    if len(shape) > _MAX_RANK:
        raise InvalidRequestError(field, f"a shape of at most {_MAX_RANK} sizes", len(shape))
    if any(size < 0 for size in shape):
        raise InvalidRequestError(field, "a shape without negative sizes", list(shape))
    # numpy refuses a shape whose sizes multiply to too much even when one of them is 0.
    if math.prod(size or 1 for size in shape) > _MAX_ELEMENTS:
        raise InvalidRequestError(field, f"a shape of at most {_MAX_ELEMENTS} elements", list(shape))
    return tuple(shape)


def _dtype(field: str, datatype: str) -> np.dtype[Any]:
    try:
        return numpy_dtype(datatype)
    except KeyError:
        raise InvalidRequestError(field, f"a datatype such as {', '.join(_TYPED)}", repr(datatype)) from None


def _from_raw(field: str, datatype: str, shape: tuple[int, ...], data: bytes) -> NDArray[Any]:
    dtype = _dtype(field, datatype)
    count = math.prod(shape)
    if datatype == "BYTES":
        values = list(_elements(field, data))
        return _filled(field, values, shape)
    if len(data) != count * dtype.itemsize:
        raise InvalidRequestError(field, f"{count * dtype.itemsize} bytes for {datatype} {list(shape)}", len(data))
    return np.frombuffer(data, dtype).reshape(shape)


def _elements(field: str, data: bytes) -> Iterator[str]:
    start = 0
    while start < len(data):
        if start + _LENGTH.size > len(data):
            raise InvalidRequestError(field, "a length of 4 bytes before each element", f"{len(data) - start} bytes")
        (size,) = _LENGTH.unpack_from(data, start)
        start += _LENGTH.size
        if start + size > len(data):
            raise InvalidRequestError(field, f"an element of {size} bytes", f"{len(data) - start} bytes")
        yield _text(field, data[start : start + size])
        start += size


def _from_typed(
    field: str, tensor: inference_pb2.ModelInferRequest.InferInputTensor, shape: tuple[int, ...]
) -> NDArray[Any]:
    dtype = _dtype(field, tensor.datatype)
    name = _TYPED.get(tensor.datatype)
    if name is None:
        raise InvalidRequestError(field, "raw_input_contents for 16-bit floats", "typed contents")
    values = getattr(tensor.contents, name)
    if tensor.datatype == "BYTES":
        return _filled(field, [_text(field, value) for value in values], shape)
    if len(values) != math.prod(shape):
        raise InvalidRequestError(field, f"{math.prod(shape)} elements in {name} for {list(shape)}", len(values))
    wide = np.array(values, dtype=np.float64 if dtype.kind == "f" else None)
    if (
        dtype.kind in "iu"
        and wide.size
        and not (np.iinfo(dtype).min <= wide.min() and wide.max() <= np.iinfo(dtype).max)
    ):
        raise InvalidRequestError(field, f"elements within {tensor.datatype}", f"{wide.min()} to {wide.max()}")
    return wide.astype(dtype).reshape(shape)


def _filled(field: str, values: list[str], shape: tuple[int, ...]) -> NDArray[Any]:
    if len(values) != math.prod(shape):
        raise InvalidRequestError(field, f"{math.prod(shape)} elements for {list(shape)}", len(values))
    array = np.empty(len(values), object)
    array[:] = values
    return array.reshape(shape)


def _text(field: str, data: bytes) -> str:
    """ONNX strings are UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequestError(field, "elements in UTF-8", error.reason) from error


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()
