"""ONNX: a file, with its external weights beside it, or a graph in memory."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from publisher.sources.source import Samples, Source, check_samples, draw_samples, inputs_of
from serving.errors import InvalidRequestError


def from_onnx(model: onnx.ModelProto | Path, samples: Samples | NDArray[Any] | None) -> Source:
    """Read a graph; InvalidRequestError when it is none. An array without a name is for the only input."""
    graph = model if isinstance(model, onnx.ModelProto) else _read(model)
    made_by = (graph.producer_name or "onnx", graph.producer_version)
    if samples is None:
        return Source(graph, draw_samples(graph), *made_by)
    if isinstance(samples, np.ndarray):
        names = [value.name for value in inputs_of(graph)]
        if len(names) != 1:
            raise InvalidRequestError("samples", f"an array for each of {sorted(names)}", "one without a name")
        samples = {names[0]: samples}
    return Source(graph, check_samples(graph, samples), *made_by)


def _read(path: Path) -> onnx.ModelProto:
    try:
        graph = onnx.load_model(str(path))
    except FileNotFoundError as error:
        raise InvalidRequestError("MODEL", "a file that exists", error.filename or path) from None
    except (DecodeError, ValueError, OSError, onnx.checker.ValidationError) as error:
        raise InvalidRequestError("MODEL", "an ONNX file", f"{path}: {error}") from error
    if not graph.graph.output:  # an empty file is a message of protobuf, too
        raise InvalidRequestError("MODEL", "an ONNX file", f"{path}: a graph without outputs")
    return graph
