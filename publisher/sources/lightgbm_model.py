"""LightGBM: a Booster, its file (.txt) or a scikit-learn wrapper, converted with onnxmltools."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from publisher.sources.agreement import Answer
from publisher.sources.converted import converted
from publisher.sources.extras import extra, first_line
from publisher.sources.matrix import INPUT, in_32_bits, matrix_rows
from publisher.sources.source import Samples, Source
from serving.errors import InvalidRequestError, UserError

_KIND = "a LightGBM model"
_MANY = 2


def from_lightgbm(model: Any, samples: Samples | NDArray[Any] | None) -> Source:
    """Convert and compare; UserError.

    Both sides answer for the rows in 32 bits: LightGBM splits in 64, so a row within a rounding of a split may go
    the other way on a node, which is given 32 bits whatever the model is.
    """
    with extra("lightgbm", _KIND):
        import lightgbm  # noqa: PLC0415 - an extra
        from onnxmltools import convert_lightgbm  # noqa: PLC0415 - an extra
        from onnxmltools.convert.common.data_types import FloatTensorType  # noqa: PLC0415 - an extra
    original = _read(model, lightgbm) if isinstance(model, Path) else model
    try:
        booster = original if isinstance(original, lightgbm.Booster) else original.booster_
        width, names = booster.num_feature(), booster.feature_name()
    except Exception as error:
        # The wrappers raise an error of their own when they were not fitted.
        raise UserError(f"MODEL: expected a fitted LightGBM model: {first_line(error)}") from error
    if booster.pandas_categorical and any(booster.pandas_categorical):
        raise UserError("MODEL: LightGBM's categorical columns cannot be converted; encode them as numbers")
    rows = in_32_bits(matrix_rows(samples, width, names))
    try:
        graph: onnx.ModelProto = convert_lightgbm(
            original, "model", [(INPUT, FloatTensorType([None, width]))], zipmap=False
        )
        answers = _answers(original, rows.astype(np.float64), graph)
    except Exception as error:
        # Converters fail in ways of their own.
        raise UserError(
            f"MODEL: converting {type(original).__name__} with onnxmltools failed ({first_line(error)})"
        ) from error
    return converted(graph, {INPUT: rows}, answers, "lightgbm")


def _read(path: Path, lightgbm: Any) -> Any:
    if not path.is_file():
        raise InvalidRequestError("MODEL", "a file that exists", path)
    try:
        return lightgbm.Booster(model_file=path)
    except Exception as error:
        raise InvalidRequestError("MODEL", "a model file of LightGBM", f"{path}: {first_line(error)}") from error


def _answers(model: Any, rows: NDArray[Any], graph: onnx.ModelProto) -> list[Answer]:
    """A Booster answers with a number a row, or one for each class; the graph with labels beside probabilities."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "X does not have valid feature names")
        said = np.asarray(model.predict(rows))
        if hasattr(model, "predict_proba"):
            return [("predict", said), ("predict_proba", np.asarray(model.predict_proba(rows)))]
    if len(graph.graph.output) < _MANY:
        return [("predict", said)]
    return [("predict", None), ("predict", np.c_[1 - said, said] if said.ndim == 1 else said)]
