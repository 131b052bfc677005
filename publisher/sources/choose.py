"""Chooses the source by what the model is, without importing a framework: by a file's name, or an object's classes."""

import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray

from publisher.sources.mlflow_model import read_mlflow
from publisher.sources.pickled import read_pickled
from publisher.sources.source import Samples, Source
from serving.errors import InvalidRequestError

Load = Callable[[Any, Samples | NDArray[Any] | None], Source]

_BY_PACKAGE = {
    "sklearn": "sklearn_model:from_sklearn",
    "xgboost": "xgboost_model:from_xgboost",
    "lightgbm": "lightgbm_model:from_lightgbm",
    "catboost": "catboost_model:from_catboost",
    "keras": "keras_model:from_keras",
    "tensorflow": "keras_model:from_keras",
    "torch": "torch_model:from_torch",
}
_BY_SUFFIX = {
    ".onnx": "onnx_graph:from_onnx",
    ".joblib": "pickled",
    ".pkl": "pickled",
    ".pickle": "pickled",
    ".json": "xgboost_model:from_xgboost",
    ".ubj": "xgboost_model:from_xgboost",
    ".txt": "lightgbm_model:from_lightgbm",
    ".cbm": "catboost_model:from_catboost",
    ".keras": "keras_model:from_keras",
    ".pt2": "torch_model:from_torch",
}
_READERS: dict[str, Callable[[Any], Any]] = {"pickled": read_pickled, "mlflow": read_mlflow}
"""What is in these is chosen once more, by what it is."""
_BY_MEMBER = {"MLmodel": "mlflow", "saved_model.pb": "keras_model:from_keras"}
_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_URI = re.compile(r"(models|runs):/")


def load_source(model: Any, samples: Samples | NDArray[Any] | None = None) -> Source:
    """Turn a model into a graph with samples; InvalidRequestError, UserError.

    `model`: a path, an MLflow URI, `module:function`, an ONNX graph, a model of a known framework, or a function that
    builds a graph. `samples`: an array for each input, or one array for the only one.
    """
    if isinstance(model, str | Path):
        return _load_named(str(model), samples)
    if isinstance(model, onnx.ModelProto):
        return _loader("onnx_graph:from_onnx")(model, samples)
    for base in getattr(model if isinstance(model, type) else type(model), "__mro__", ()):
        if place := _BY_PACKAGE.get(base.__module__.partition(".")[0]):
            return _loader(place)(model, samples)
    if hasattr(model, "predict"):
        return _loader("sklearn_model:from_sklearn")(model, samples)
    if callable(model):
        return _loader("function:from_function")(model, samples)
    raise InvalidRequestError(
        "model", "a path, an onnx.ModelProto, a trained model or a function that makes a graph", type(model).__name__
    )


def _load_named(said: str, samples: Samples | NDArray[Any] | None) -> Source:
    path = Path(said)
    if _URI.match(said):
        return _loader("mlflow")(said, samples)
    if path.is_dir():
        for member, place in _BY_MEMBER.items():
            if (path / member).is_file():
                return _loader(place)(path, samples)
    if found := _BY_SUFFIX.get(path.suffix):
        return _loader(found)(path, samples)
    if _FUNCTION.fullmatch(said):
        return _loader("function:from_function")(said, samples)
    raise InvalidRequestError(
        "MODEL",
        f"a file ending in {', '.join(_BY_SUFFIX)}, a folder of MLflow or a SavedModel, models:/…, runs:/…, or "
        "module:function",
        said,
    )


def _loader(place: str) -> Load:
    if read := _READERS.get(place):
        return lambda model, samples: load_source(read(model), samples)
    module, _, name = place.partition(":")
    load: Load = getattr(import_module(f"publisher.sources.{module}"), name)
    return load
