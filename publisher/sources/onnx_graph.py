"""ONNX: a file, with its external weights beside it, or a graph in memory."""

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from publisher.sources.source import Samples, Source, check_samples, draw_samples
from serving.errors import InvalidRequestError


def from_onnx(model: onnx.ModelProto | Path, samples: Samples | None) -> Source:
    """Read a graph; InvalidRequestError when it is none."""
    graph = model if isinstance(model, onnx.ModelProto) else _read(model)
    return Source(graph, check_samples(graph, samples) if samples else draw_samples(graph))


def _read(path: Path) -> onnx.ModelProto:
    try:
        return onnx.load_model(str(path))
    except FileNotFoundError as error:
        raise InvalidRequestError("MODEL", "a file that exists", error.filename or path) from None
    except (DecodeError, ValueError, OSError, onnx.checker.ValidationError) as error:
        raise InvalidRequestError("MODEL", "an ONNX file", f"{path}: {error}") from error
