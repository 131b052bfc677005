"""A Python function that builds an ONNX graph: given itself, or by name as `module:function`."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray

from publisher.sources.extras import first_line
from publisher.sources.onnx_graph import from_onnx
from publisher.sources.source import Samples, Source
from serving.errors import InvalidRequestError, UserError


def from_function(function: Callable[[], Any] | str, samples: Samples | NDArray[Any] | None) -> Source:
    """Call it without arguments; InvalidRequestError when it returns no graph. There is no original to compare with."""
    called = _find(function) if isinstance(function, str) else function
    name = getattr(called, "__name__", type(called).__name__)
    try:
        graph = called()
    except UserError:
        raise
    except Exception as error:
        # It is the caller's own code.
        raise UserError(f"MODEL: {name}() failed: {type(error).__name__}: {first_line(error)}") from error
    if not isinstance(graph, onnx.ModelProto):
        raise InvalidRequestError("MODEL", f"an onnx.ModelProto from {name}()", type(graph).__name__)
    return from_onnx(graph, samples)


def _find(said: str) -> Callable[[], Any]:
    module, _, name = said.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:  # as `python -m` does; the installed program's own path does not have it
        sys.path.insert(0, here)
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as error:
        # Importing runs code, which raises what it likes.
        raise InvalidRequestError("MODEL", "module:function", f"{said}: {first_line(error)}") from error
    if not callable(found):
        raise InvalidRequestError("MODEL", "module:function", f"{said}, which is a {type(found).__name__}")
    called: Callable[[], Any] = found
    return called
