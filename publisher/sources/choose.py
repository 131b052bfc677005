"""Chooses the source by what the model is."""

from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray

from publisher.sources.onnx_graph import from_onnx
from publisher.sources.sklearn_model import from_sklearn
from publisher.sources.source import Samples, Source
from serving.errors import InvalidRequestError

_PICKLES = {".joblib", ".pkl", ".pickle"}


def load_source(model: Any, samples: Samples | NDArray[Any] | None = None) -> Source:
    """Turn a model (path, ONNX graph, fitted estimator) into a graph with samples; InvalidRequestError, UserError.

    `samples`: an array for each input, or one array for the only one.
    """
    if isinstance(model, str):
        model = Path(model)
    if isinstance(model, Path) and model.suffix not in _PICKLES:
        if model.suffix != ".onnx":
            raise InvalidRequestError("MODEL", f"a file ending in .onnx, {', '.join(sorted(_PICKLES))}", model)
        return from_onnx(model, samples)
    if isinstance(model, onnx.ModelProto):
        return from_onnx(model, samples)
    if isinstance(model, Path) or hasattr(model, "predict"):
        return from_sklearn(model, samples)
    raise InvalidRequestError("model", "a path, an onnx.ModelProto or a fitted estimator", type(model).__name__)
