"""ModelInferResponse, to bytes: what comes again and again is encoded once, and the values are copied once.

The same bytes as protobuf's own.
"""

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from protos.inference import inference_pb2 as pb
from serving.bundles.manifest import Tensor
from serving.models.encoding import varint
from serving.recommend.infer import Inferred, Wanted

_ID, _RAW = b"\x1a", b"\x32"
"""Tags: the field's number, then three bits for length-delimited."""
_KNOWN = 1_000
_SMALL = 4_096
"""Bytes of values that are copied twice."""
_LENGTH = struct.Struct("<I")


class _Frame(NamedTuple):
    """What stands around the values: before the id, after it, and before each of the values but the first."""

    front: bytes
    back: bytes
    between: tuple[bytes, ...]
    tensors: tuple[Tensor, ...]
    """Held, so that no others get their identity."""


class InferAnswers:
    """Encodes answers; used on the event loop."""

    def __init__(self) -> None:
        self._frames: dict[tuple[object, ...], _Frame] = {}

    def encode(self, wanted: Wanted, ident: bytes, inferred: Inferred) -> bytes:
        """Return an encoded ModelInferResponse."""
        version, tensors, arrays = inferred
        # A version's number may come again with other outputs, when a ledger was created anew.
        key = (wanted, version, id(tensors), *[array.shape for array in arrays])
        frame = self._frames.get(key)
        values: list[Any] = arrays
        if frame is None:
            values = [_strings(array) if array.dtype.hasobject else array for array in arrays]
            frame = _frame(wanted.model, inferred, [memoryview(value).nbytes for value in values])
            if not any(tensor.datatype == "BYTES" for tensor in tensors):  # whose sizes are those of the shapes
                if len(self._frames) >= _KNOWN:
                    self._frames.clear()
                self._frames[key] = frame
        front, back, between, _ = frame
        parts: list[Any] = [front, _ID, varint(len(ident)), ident, back] if ident else [front, back]
        for at, value in enumerate(values):
            if at:
                parts.append(between[at - 1])
            # The join asks an array for its bytes, which takes as long as to copy a few of them.
            copied = type(value) is not bytes and (value.nbytes < _SMALL or not value.flags.c_contiguous)
            parts.append(value.tobytes() if copied else value)
        return b"".join(parts)

    def encode_all(self, wanted: Wanted, inferred: Inferred, requests: int) -> list[bytes]:
        """Return an encoded ModelInferResponse for each of some requests without ids, which have as many rows each."""
        version, tensors, arrays = inferred
        rows = len(arrays[0]) // requests
        cut = [(rows, *array.shape[1:]) for array in arrays]
        frame = self._frames.get((wanted, version, id(tensors), *cut))
        sizes = [array.nbytes for array in arrays]
        if frame is None or 0 in sizes or sum(sizes) >= _SMALL * requests:
            parts = [[array[at : at + rows] for array in arrays] for at in range(0, requests * rows, rows)]
            return [self.encode(wanted, b"", Inferred(version, tensors, part)) for part in parts]
        _, _, between, _ = frame
        columns = [np.frombuffer(frame.front + frame.back, np.uint8)]
        for at, array in enumerate(arrays):
            if at:
                columns.append(np.frombuffer(between[at - 1], np.uint8))
            columns.append(np.ascontiguousarray(array).view(np.uint8).reshape(requests, -1))
        size = sum(column.shape[-1] for column in columns)
        table = np.empty((requests, size), np.uint8)
        start = 0
        for column in columns:
            end = start + column.shape[-1]
            table[:, start:end] = column
            start = end
        data = table.tobytes()
        return [data[at : at + size] for at in range(0, len(data), size)]


def _frame(model: str, inferred: Inferred, sizes: Sequence[int]) -> _Frame:
    response = pb.ModelInferResponse(model_name=model, model_version=str(inferred.version))
    front = response.SerializeToString()
    for tensor, array in inferred.outputs:
        response.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=array.shape)
    heads = [_RAW + varint(size) for size in sizes]
    # The outputs' fields come after the model's, and the id's is between them.
    return _Frame(
        front, response.SerializeToString()[len(front) :] + b"".join(heads[:1]), tuple(heads[1:]), inferred.tensors
    )


def _strings(array: NDArray[Any]) -> bytes:
    parts = (value if isinstance(value, bytes) else str(value).encode() for value in array.ravel())
    return b"".join(_LENGTH.pack(len(part)) + part for part in parts)
