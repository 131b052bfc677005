"""Datatypes of the Open Inference Protocol, as numpy and ONNX Runtime name them.

numpy has no BF16: its arrays are of the bits, UINT16.
"""

from typing import Any

import numpy as np

_TABLE: tuple[tuple[str, Any, str], ...] = (
    ("BOOL", np.bool_, "tensor(bool)"),
    ("UINT8", np.uint8, "tensor(uint8)"),
    ("UINT16", np.uint16, "tensor(uint16)"),
    ("UINT32", np.uint32, "tensor(uint32)"),
    ("UINT64", np.uint64, "tensor(uint64)"),
    ("INT8", np.int8, "tensor(int8)"),
    ("INT16", np.int16, "tensor(int16)"),
    ("INT32", np.int32, "tensor(int32)"),
    ("INT64", np.int64, "tensor(int64)"),
    ("FP16", np.float16, "tensor(float16)"),
    ("BF16", np.uint16, "tensor(bfloat16)"),
    ("FP32", np.float32, "tensor(float)"),
    ("FP64", np.float64, "tensor(double)"),
    ("BYTES", np.object_, "tensor(string)"),
)
DATATYPES = tuple(name for name, _, _ in _TABLE)
_NUMPY: dict[str, np.dtype[Any]] = {name: np.dtype(kind) for name, kind, _ in _TABLE}
_RUNTIME = {runtime: name for name, _, runtime in _TABLE}


def numpy_dtype(datatype: str) -> np.dtype[Any]:
    """Return the dtype of arrays of that datatype; strings are object arrays. KeyError for an unknown one."""
    return _NUMPY[datatype]


def datatype_of_runtime(name: str) -> str:
    """Return the datatype for ONNX Runtime's name of a type, such as `tensor(float)`. KeyError for an unknown one."""
    return _RUNTIME[name]
