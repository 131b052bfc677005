"""ModelInfer by a client with generated stubs: arrays in, arrays out."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protos.inference import inference_pb2, inference_pb2_grpc
from tests.end_to_end.client import PATIENCE_S, channel_to

_NAMES = {
    "float32": "FP32",
    "float64": "FP64",
    "int64": "INT64",
    "int32": "INT32",
}
_DTYPES = {name: np.dtype(dtype) for dtype, name in _NAMES.items()}


def infer(address: str, model: str, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Ask a node; strings are arrays of unicode on both sides."""
    request = inference_pb2.ModelInferRequest(model_name=model)
    for name, array in inputs.items():
        words = array.dtype.kind == "U"
        request.inputs.add(name=name, datatype="BYTES" if words else _NAMES[array.dtype.name], shape=array.shape)
        request.raw_input_contents.append(_words(array) if words else np.ascontiguousarray(array).tobytes())
    with channel_to(address) as channel:
        stub: Any = inference_pb2_grpc.GRPCInferenceServiceStub(channel)
        answer = stub.ModelInfer(request, timeout=PATIENCE_S, wait_for_ready=True)
    return {
        output.name: _array(output, raw) for output, raw in zip(answer.outputs, answer.raw_output_contents, strict=True)
    }


def _words(array: NDArray[Any]) -> bytes:
    encoded = [str(word).encode() for word in array.ravel()]
    return b"".join(len(word).to_bytes(4, "little") + word for word in encoded)


def _array(output: Any, raw: bytes) -> NDArray[Any]:
    if output.datatype != "BYTES":
        return np.frombuffer(raw, _DTYPES[output.datatype]).reshape(tuple(output.shape))
    words, at = [], 0
    while at < len(raw):
        size = int.from_bytes(raw[at : at + 4], "little")
        words.append(raw[at + 4 : at + 4 + size].decode())
        at += 4 + size
    return np.array(words).reshape(tuple(output.shape))
