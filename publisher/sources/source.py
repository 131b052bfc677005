"""What every source of models becomes: a graph, and rows to try it on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from serving.errors import InvalidRequestError

Samples = Mapping[str, NDArray[Any]]
DRAWN_ROWS = 16
MOST_ROWS = 64


@dataclass(frozen=True, slots=True)
class Agreement:
    """The largest difference between original and graph that was borne, of which output, in which of the rows."""

    output: str
    row: int
    difference: float
    rows: int


@dataclass(frozen=True, slots=True)
class Source:
    """`graph` with its weights in memory; `samples`: an array for each input, 1 to 64 rows; strings are unicode.

    `framework`: what trained it, as its package is called (`xgboost`), with the version that was read or that read it;
    of an ONNX graph, what the graph says made it. "" where that is not known. `agreement`: how far the answers of a
    converted model are from the original's; None where nothing was converted.
    """

    graph: onnx.ModelProto
    samples: Samples
    framework: str = "onnx"
    framework_version: str = ""
    agreement: Agreement | None = None


def inputs_of(graph: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """The inputs that a caller gives; older graphs list their weights, too."""
    weights = {tensor.name for tensor in graph.graph.initializer}
    return [value for value in graph.graph.input if value.name not in weights]


def draw_samples(graph: onnx.ModelProto, seed: int = 0) -> dict[str, NDArray[Any]]:
    """Draw rows from the signature, where the caller gave none: small numbers, and 4 for a free size but the first."""
    rng = np.random.default_rng(seed)
    samples: dict[str, NDArray[Any]] = {}
    for value in inputs_of(graph):
        tensor = value.type.tensor_type
        sizes = [d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim]
        shape = [size if size is not None else (DRAWN_ROWS if at == 0 else 4) for at, size in enumerate(sizes)]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        if tensor.elem_type == onnx.TensorProto.STRING:
            samples[value.name] = rng.choice(np.array(["a", "b", "c"]), shape)
        elif dtype.kind == "f":
            samples[value.name] = rng.standard_normal(shape).astype(dtype)
        elif dtype.kind == "b":
            samples[value.name] = rng.integers(0, 2, shape).astype(dtype)
        else:
            samples[value.name] = np.zeros(shape, dtype)  # 0 is the one number that any index accepts
    return samples


def check_samples(graph: onnx.ModelProto, samples: Samples) -> dict[str, NDArray[Any]]:
    """Compare the caller's samples with the graph; InvalidRequestError names the input."""
    expected = {value.name: value.type.tensor_type.elem_type for value in inputs_of(graph)}
    if set(samples) != set(expected):
        raise InvalidRequestError("samples", f"an array for each of {sorted(expected)}", sorted(samples))
    checked = {}
    for name, elem_type in expected.items():
        array = np.asarray(samples[name])
        if elem_type == onnx.TensorProto.STRING:
            array = array.astype(str)
        else:
            dtype = onnx.helper.tensor_dtype_to_np_dtype(elem_type)
            if not np.can_cast(array.dtype, dtype, "same_kind"):
                raise InvalidRequestError(f"samples[{name!r}]", str(dtype), array.dtype)
            array = array.astype(dtype)
        checked[name] = array
    check_rows(checked)
    return {name: array[:MOST_ROWS] for name, array in checked.items()}


def check_rows(samples: Samples) -> None:
    """InvalidRequestError unless every array has the same number of rows, and at least one."""
    for name, array in samples.items():
        if array.ndim == 0 or len(array) == 0:
            raise InvalidRequestError(f"samples[{name!r}]", "rows, at least one", f"an array of shape {array.shape}")
    if len({len(array) for array in samples.values()}) > 1:
        raise InvalidRequestError("samples", "as many rows in each", {n: len(a) for n, a in samples.items()})
