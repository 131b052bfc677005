"""ModelInferResponse, to bytes: what comes again and again is encoded once, and the values are copied once.

The same bytes as protobuf's own.
"""

import struct
from typing import Any

from numpy.typing import NDArray

from protos.inference import inference_pb2 as pb
from serving.bundles.manifest import Tensor
from serving.models.encoding import varint
from serving.recommend.infer import Inferred

_ID, _RAW = b"\x1a", b"\x32"
"""Tags: the field's number, then three bits for length-delimited."""
_KNOWN = 1_000
_LENGTH = struct.Struct("<I")


class InferAnswers:
    """Encodes answers; used on the event loop."""

    def __init__(self) -> None:
        self._heads: dict[tuple[str, int], bytes] = {}
        self._outputs: dict[tuple[str, str, tuple[int, ...]], bytes] = {}
        self._sizes: dict[int, bytes] = {}

    def encode(self, model: str, ident: bytes, inferred: Inferred) -> bytes:
        """Return an encoded ModelInferResponse."""
        version, tensors, arrays = inferred
        parts: list[Any] = [self._heads.get((model, version)) or self._head(model, version)]
        if ident:
            parts += (_ID, varint(len(ident)), ident)
        values: list[Any] = []
        for tensor, array in zip(tensors, arrays, strict=True):
            shape = array.shape
            parts.append(self._outputs.get((tensor.name, tensor.datatype, shape)) or self._output(tensor, shape))
            if array.dtype.hasobject:
                data = _strings(array)
                values += (self._raw(len(data)), data)
            else:
                values += (self._raw(array.nbytes), array if array.flags.c_contiguous else array.copy())
        return b"".join(parts + values)

    def _head(self, model: str, version: int) -> bytes:
        if len(self._heads) >= _KNOWN:
            self._heads.clear()
        head = pb.ModelInferResponse(model_name=model, model_version=str(version)).SerializeToString()
        self._heads[model, version] = head
        return head

    def _output(self, tensor: Tensor, shape: tuple[int, ...]) -> bytes:
        if len(self._outputs) >= _KNOWN:
            self._outputs.clear()
        response = pb.ModelInferResponse()
        response.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=shape)
        output = self._outputs[tensor.name, tensor.datatype, shape] = response.SerializeToString()
        return output

    def _raw(self, size: int) -> bytes:
        """What stands before so many bytes of values."""
        known = self._sizes.get(size)
        if known is None:
            if len(self._sizes) >= _KNOWN:
                self._sizes.clear()
            known = self._sizes[size] = _RAW + varint(size)
        return known


def _strings(array: NDArray[Any]) -> bytes:
    parts = (value if isinstance(value, bytes) else str(value).encode() for value in array.ravel())
    return b"".join(_LENGTH.pack(len(part)) + part for part in parts)
