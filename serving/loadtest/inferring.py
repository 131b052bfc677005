"""Requests of `ModelInfer` (Open Inference Protocol v2) with random values that fit a model's signature.

A process that imports `tritonclient` cannot import this: both register the protocol's messages.
"""

from collections.abc import Mapping
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray

from protos.inference import inference_pb2 as pb
from protos.inference import inference_pb2_grpc
from serving.bundles.datatypes import numpy_dtype
from serving.errors import NotFoundError, UnavailableError, UserError
from serving.loadtest.secure import Tls, open_channel

INFER = "/inference.GRPCInferenceService/ModelInfer"
_PATIENCE_S = 10.0
_VARIETY = 512


def infer_requests(
    address: str, model: str, rows: int, seed: int = 0, count: int = _VARIETY, tls: Tls | None = None
) -> list[bytes]:
    """Ask a server for the signature, and return so many requests of `rows` rows each.

    Sizes other than the first that may be any are 1. Integers are 0, 1 or 2, as larger ones may be beyond a table.
    NotFoundError, UnavailableError or UserError.
    """
    signature = _signature(address, model, tls)
    random = np.random.default_rng(seed)
    return [
        encode_infer(
            model, {t.name: (t.datatype, _values(random, t.datatype, _shape(t.shape, rows))) for t in signature}
        )
        for _ in range(count)
    ]


def encode_infer(model: str, inputs: Mapping[str, tuple[str, NDArray[Any]]]) -> bytes:
    """Return a request with these inputs: name to datatype and array (of `bytes` objects for BYTES)."""
    request = pb.ModelInferRequest(model_name=model)
    for name, (datatype, array) in inputs.items():
        request.inputs.add(name=name, datatype=datatype, shape=array.shape)
        if datatype == "BYTES":
            raw = b"".join(len(value).to_bytes(4, "little") + value for value in array.ravel().tolist())
        else:
            raw = np.ascontiguousarray(array).tobytes()
        request.raw_input_contents.append(raw)
    return request.SerializeToString()


def _signature(address: str, model: str, tls: Tls | None) -> Any:
    with open_channel(address, tls) as channel:
        try:
            stub: Any = inference_pb2_grpc.GRPCInferenceServiceStub(channel)
            return stub.ModelMetadata(pb.ModelMetadataRequest(name=model), timeout=_PATIENCE_S).inputs
        except grpc.RpcError as error:
            code, details = error.code(), error.details()
            if code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}:
                raise UnavailableError(
                    f"--target {address}: {details}; is a node running (`nearline serve`)?"
                ) from None
            if code is grpc.StatusCode.NOT_FOUND:
                raise NotFoundError(details) from None
            raise UserError(f"{code.name}: {details}") from None


def _shape(shape: Any, rows: int) -> tuple[int, ...]:
    return tuple(size if size >= 0 else (1 if axis else rows) for axis, size in enumerate(shape))


def _values(random: np.random.Generator, datatype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    if datatype == "BYTES":
        values = np.empty(int(np.prod(shape)), object)
        values[:] = [b"%d" % number for number in random.integers(0, 100, len(values))]
        return values.reshape(shape)
    dtype = numpy_dtype(datatype)
    if dtype.kind == "f":
        return random.standard_normal(shape).astype(dtype)
    return random.integers(0, 2 if dtype.kind == "b" else 3, shape).astype(dtype)
