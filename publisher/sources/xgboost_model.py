"""XGBoost: a Booster, its file (.json, .ubj) or a scikit-learn wrapper, converted with onnxmltools."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from publisher.sources.agreement import Answer
from publisher.sources.converted import converted, version_of
from publisher.sources.extras import extra, first_line
from publisher.sources.matrix import INPUT, in_32_bits, matrix_rows
from publisher.sources.source import Samples, Source
from serving.errors import InvalidRequestError, UserError

_KIND = "an XGBoost model"
_MANY = 2


def from_xgboost(model: Any, samples: Samples | NDArray[Any] | None) -> Source:
    """Convert and compare; UserError. XGBoost itself reads its rows in 32 bits, so both sides see the same numbers."""
    with extra("xgboost", _KIND):
        import xgboost  # noqa: PLC0415 - an extra
        from onnxmltools import convert_xgboost  # noqa: PLC0415 - an extra
        from onnxmltools.convert.common.data_types import FloatTensorType  # noqa: PLC0415 - an extra
    wrapped = not isinstance(model, Path | xgboost.Booster)
    read = _read(model, xgboost) if isinstance(model, Path) else model
    try:
        original = copy.deepcopy(read)
        booster = original.get_booster() if wrapped else original
        width = booster.num_features()
    except Exception as error:
        # NotFittedError is scikit-learn's; a Booster without trees raises an XGBoostError.
        raise UserError(f"MODEL: expected a fitted XGBoost model: {first_line(error)}") from error
    if "c" in (booster.feature_types or ()):
        raise UserError("MODEL: XGBoost's categorical columns cannot be converted; encode them as numbers")
    names, booster.feature_names = booster.feature_names or (), None  # the converter wants them to be f0, f1, …
    given = matrix_rows(samples, width, names)
    rows = {INPUT: in_32_bits(given)}
    try:
        taken = _of_leaves(booster) if _answers_leaves(booster) else original
        graph: onnx.ModelProto = convert_xgboost(taken, "model", [(INPUT, FloatTensorType([None, width]))])
        answers = _wrapper(original, given) if wrapped else _booster(booster, xgboost.DMatrix(given), graph)
    except Exception as error:
        # Converters fail in ways of their own.
        raise UserError(
            f"MODEL: converting {type(original).__name__} with onnxmltools failed ({first_line(error)})"
        ) from error
    return converted(graph, rows, answers, "xgboost" if version_of("xgboost") else "xgboost-cpu")


def _read(path: Path, xgboost: Any) -> Any:
    booster = xgboost.Booster()
    try:
        booster.load_model(path)
    except Exception as error:
        raise InvalidRequestError("MODEL", "a model file of XGBoost", f"{path}: {first_line(error)}") from error
    return booster


def _answers_leaves(booster: Any) -> bool:
    """Rankers and raw margins answer with the sum of leaves, as a regression does."""
    objective: str = json.loads(booster.save_config())["learner"]["objective"]["name"]
    return objective.startswith("rank:") or objective == "binary:logitraw"


def _of_leaves(booster: Any) -> Any:
    """The converter takes these objectives for classifications."""
    same = booster.copy()
    same.set_param({"objective": "reg:squarederror"})
    return same


def _wrapper(model: Any, rows: NDArray[Any]) -> list[Answer]:
    answers: list[Answer] = [("predict", np.asarray(model.predict(rows)))]
    if hasattr(model, "predict_proba"):
        answers.append(("predict_proba", np.asarray(model.predict_proba(rows))))
    return answers


def _booster(booster: Any, rows: Any, graph: onnx.ModelProto) -> list[Answer]:
    """A Booster answers with a number a row, or one for each class; the graph with labels beside probabilities."""
    said = np.asarray(booster.predict(rows))
    if len(graph.graph.output) < _MANY:
        return [("predict", said)]
    if said.ndim == 1 and "softmax" in booster.save_config():
        return [("predict", said)]
    return [("predict", None), ("predict", np.c_[1 - said, said] if said.ndim == 1 else said)]
