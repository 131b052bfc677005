"""A model in memory that runs: beside runtime.py, the only file that imports ONNX Runtime.

Scale comes from processes and batches, so a session uses one thread, without spinning. External weights are
memory-mapped by the runtime: many workers, one copy.
"""

import ctypes
import math
import re
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protos.nearline.v1 import status_pb2
from serving.bundles.bundle import GRAPH
from serving.bundles.datatypes import datatype_of_runtime
from serving.bundles.manifest import Tensor
from serving.bundles.runtime import refused_values, runtime
from serving.errors import ModelError, ModelInputError

# Creating sessions at the same time was reported racy: microsoft/onnxruntime#27089.
_CREATING = threading.Lock()
_FATAL_ONLY = 4
_BFLOAT16 = 16
"""As onnx.TensorProto numbers it."""
_PREFACE = re.compile(
    r"\[ONNXRuntimeError\] : \d+ : \w+ : "
    r"(?:Non-zero status code returned while running (?P<operator>\w+) node\. Name:'[^']*' Status Message: )?"
)
"""What the runtime says before it says what is wrong."""


class ModelSession:
    """`run` may be called from several threads at once."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._refused = refused_values()
        self._mark: AbstractContextManager[None] = nullcontext()
        self.inputs = tuple(_tensor(node) for node in session.get_inputs())
        self.outputs = tuple(_tensor(node) for node in session.get_outputs())
        self._of_bits = frozenset(t.name for t in (*self.inputs, *self.outputs) if t.datatype == "BF16")

    @classmethod
    def open(cls, folder: Path) -> "ModelSession":
        """Load the graph of a bundle; ModelError(LOAD)."""
        ort = runtime()
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        options.log_severity_level = _FATAL_ONLY
        with _CREATING:
            try:
                session = ort.InferenceSession(str(folder / GRAPH), options, providers=["CPUExecutionProvider"])
            except Exception as error:
                # The runtime raises several types without a common one but Exception.
                raise ModelError(status_pb2.LOAD, _first_line(error), detail=str(error)) from error
        found = cls(session)
        if found._of_bits and any(tensor.datatype == "BYTES" for tensor in found.inputs):  # the runtime cannot
            raise ModelError(
                status_pb2.LOAD, "inputs: expected none of BYTES in a model with BF16 tensors, got some", rejected=True
            )
        return found

    def run(self, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str] | None) -> list[NDArray[Any]]:
        """Return the named outputs (None = all, in order).

        ModelError(LOAD) when the graph fails to run; ModelInputError where that is because of values in `inputs`.
        """
        if self._session is None:
            raise ModelError(status_pb2.INTERNAL, "session: expected an open one, got a closed one")
        try:
            with self._mark:
                if self._of_bits:
                    return self._run_bits(self._session, inputs, outputs or [tensor.name for tensor in self.outputs])
                results: list[NDArray[Any]] = self._session.run(outputs and list(outputs), dict(inputs))
        except self._refused as error:
            raise ModelInputError(status_pb2.LOAD, _plain(error), detail=str(error)) from error
        except Exception as error:
            raise ModelError(status_pb2.LOAD, _first_line(error), detail=str(error)) from error
        return results

    def _run_bits(self, session: Any, inputs: Mapping[str, NDArray[Any]], outputs: Sequence[str]) -> list[NDArray[Any]]:
        """Run a model with BF16 tensors, which the runtime takes and gives as bits, by its own type of values alone."""
        value = runtime().OrtValue
        given = {
            name: value.ortvalue_from_numpy_with_onnx_type(array, _BFLOAT16)
            if name in self._of_bits
            else value.ortvalue_from_numpy(array)
            for name, array in inputs.items()
        }
        found = session.run_with_ort_values(list(outputs), given)
        return [_bits(one) if name in self._of_bits else one.numpy() for name, one in zip(outputs, found, strict=True)]

    def marked_by(self, mark: AbstractContextManager[None]) -> None:
        """Have every run from now on happen within a context, which may be entered by several threads at once."""
        self._mark = mark

    def when_freed(self, act: Callable[[], object]) -> None:
        """Have `act` called once the runtime has given up the model's memory, in whatever way that comes about."""
        if self._session is not None:
            weakref.finalize(self._session, act)

    def close(self) -> None:
        """Free the model; nobody may be running it."""
        self._session = None


def _bits(value: Any) -> NDArray[np.uint16]:
    """Copy a BF16 tensor, for which the runtime has no other way to numpy."""
    shape = tuple(value.shape())
    size = math.prod(shape) * 2
    data = ctypes.string_at(value.data_ptr(), size) if size else b""
    return np.frombuffer(data, np.uint16).reshape(shape)


def _tensor(node: Any) -> Tensor:
    try:
        datatype = datatype_of_runtime(node.type)
    except KeyError:
        raise ModelError(
            status_pb2.LOAD, f"{node.name!r}: expected a tensor of a known type, got {node.type}", rejected=True
        ) from None
    shape = tuple(size if isinstance(size, int) and size >= 0 else -1 for size in node.shape)
    return Tensor(name=node.name, datatype=datatype, shape=shape)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:500]


def _plain(error: Exception) -> str:
    """What is wrong, and in which operator, without the runtime's preface."""
    line = _first_line(error)
    preface = _PREFACE.match(line)
    if preface is None:
        return line
    operator = preface["operator"]
    return line[preface.end() :] + (f" (operator {operator})" if operator else "")
