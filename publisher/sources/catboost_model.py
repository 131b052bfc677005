"""CatBoost: a model or its file (.cbm), exported by CatBoost itself."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from publisher.sources.agreement import Answer
from publisher.sources.converted import converted
from publisher.sources.extras import extra, first_line
from publisher.sources.matrix import in_32_bits, matrix_rows
from publisher.sources.source import Samples, Source, inputs_of
from serving.errors import InvalidRequestError, UserError

_MANY = 2


def from_catboost(model: Any, samples: Samples | NDArray[Any] | None) -> Source:
    """Export and compare; UserError. CatBoost itself reads its rows in 32 bits, so both sides see the same numbers."""
    with extra("catboost", "a CatBoost model"):
        import catboost  # noqa: PLC0415 - an extra
    original = _read(model, catboost) if isinstance(model, Path) else model
    if not original.is_fitted():
        raise UserError(f"MODEL: expected a fitted model, got {type(original).__name__} that was not fitted")
    _check_columns(original)
    given = matrix_rows(samples, len(original.feature_names_), original.feature_names_)
    rows = in_32_bits(given)
    graph = _export(original)
    (name,) = (value.name for value in inputs_of(graph))
    try:
        answers = _answers(original, given, graph)
    except Exception as error:
        # Such as a model of several targets, whose graph has an output for labels that it does not have.
        raise UserError(f"MODEL: {type(original).__name__} has no counterpart in ONNX ({first_line(error)})") from error
    return converted(graph, {name: rows}, answers, "catboost")


def _read(path: Path, catboost: Any) -> Any:
    try:
        return catboost.CatBoost().load_model(str(path))
    except Exception as error:
        raise InvalidRequestError("MODEL", "a model file of CatBoost", f"{path}: {first_line(error)}") from error


def _check_columns(model: Any) -> None:
    kinds = {
        "categorical": model.get_cat_feature_indices(),
        "text": model.get_text_feature_indices(),
        "embedding": model.get_embedding_feature_indices(),
    }
    for kind, columns in kinds.items():
        if columns:
            names = ", ".join(model.feature_names_[column] for column in columns)
            raise UserError(
                f"MODEL: CatBoost exports no {kind} columns to ONNX, got {names}; encode them as numbers before "
                "training, such as with scikit-learn's TargetEncoder"
            )


def _export(model: Any) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        try:
            model.save_model(str(path), format="onnx")
        except Exception as error:
            # CatBoostError says what its exporter does not know.
            raise UserError(f"MODEL: CatBoost cannot export this model to ONNX: {first_line(error)}") from error
        return onnx.load(path)


def _answers(model: Any, rows: NDArray[Any], graph: onnx.ModelProto) -> list[Answer]:
    if len(graph.graph.output) < _MANY:
        return [("predict", np.asarray(model.predict(rows)))]
    return [
        (f"predict of {kind}", np.asarray(model.predict(rows, prediction_type=kind)))
        for kind in ("Class", "Probability")
    ]
