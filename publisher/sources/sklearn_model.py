"""scikit-learn: a fitted estimator or pipeline, converted with skl2onnx and compared with the original."""

import contextlib
import importlib
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from publisher.sources.agreement import Answer
from publisher.sources.boosters import cast_before_booster, ends_in_booster, register_boosters
from publisher.sources.converted import converted
from publisher.sources.extras import extra, first_line
from publisher.sources.matrix import INPUT, matrix_rows
from publisher.sources.source import Samples, Source, check_rows
from serving.errors import InvalidRequestError, UserError


def from_sklearn(estimator: Any, samples: Samples | NDArray[Any] | None) -> Source:
    """Convert and compare; UserError tells the largest difference, its row and its output.

    The original answers for the rows as they were given, so that digits lost on the way into 32 bits show, too.
    """
    given = _rows(estimator, {INPUT: samples} if isinstance(samples, np.ndarray) else samples)
    exact = ends_in_booster(estimator)
    rows = {name: _typed(name, array, exact=exact) for name, array in given.items()}
    graph = _convert(estimator, rows)
    return converted(graph, rows, _answers(estimator, given), "scikit-learn")


def _answers(estimator: Any, given: Samples) -> list[Answer]:
    frame = _original_input(_columns(estimator), given)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "X does not have valid feature names")
            answers: list[Answer] = [("predict", np.asarray(estimator.predict(frame)))]
            if hasattr(estimator, "predict_proba"):
                answers.append(("predict_proba", np.asarray(estimator.predict_proba(frame))))
    except Exception as error:
        # Estimators check their input in ways of their own.
        raise UserError(f"samples: the estimator itself cannot predict for them: {first_line(error)}") from error
    return answers


def _original_input(columns: Sequence[str], given: Samples) -> Any:
    if not columns:
        return next(iter(given.values()))
    by_name = {name: array.ravel() for name, array in given.items()}
    for library in ("pandas", "polars"):  # whoever fitted on columns by name has one
        with contextlib.suppress(ImportError):
            return importlib.import_module(library).DataFrame(by_name)
    raise UserError("samples: comparing a pipeline over columns needs pandas or polars; pip install pandas")


def _rows(estimator: Any, samples: Samples | None) -> dict[str, NDArray[Any]]:
    """Sample rows: one float input `X`, or an input for each column that the estimator was fitted with."""
    count = getattr(estimator, "n_features_in_", None)
    if isinstance(estimator, type) or count is None:
        name = f"the class {estimator.__name__}" if isinstance(estimator, type) else type(estimator).__name__
        raise UserError(f"MODEL: expected a fitted estimator, got {name} that was not fitted")
    columns = _columns(estimator)
    if not columns:
        return {INPUT: matrix_rows(samples, count, list(getattr(estimator, "feature_names_in_", [])))}
    if samples is None:
        raise UserError(
            f"samples: this pipeline takes the columns {', '.join(columns)} by name; give sample rows (--sample), "
            "a column each"
        )
    if not set(samples) >= set(columns):
        raise InvalidRequestError("samples", f"an array for each of the columns {columns}", sorted(samples))
    arrays = {name: np.asarray(samples[name]) for name in columns}
    check_rows(arrays)
    return {name: array.reshape(-1, 1) if array.ndim == 1 else array for name, array in arrays.items()}


def _columns(estimator: Any) -> list[str]:
    """The columns that are chosen by name somewhere in the pipeline: one matrix of numbers will not do."""
    steps = [step for _, step in getattr(estimator, "steps", [])]
    if not any(type(step).__name__ == "ColumnTransformer" for step in (estimator, *steps)):
        return []
    return list(getattr(estimator, "feature_names_in_", []))


def _typed(name: str, array: NDArray[Any], *, exact: bool) -> NDArray[Any]:
    """As the graph takes it. `exact`: steps in 64 bits come before the splits of trees, which tell all digits apart."""
    if array.dtype.kind in "OU":
        return array.astype(str)
    if array.dtype.kind not in "iufb":
        raise InvalidRequestError(f"samples[{name!r}]", "numbers or strings", array.dtype)
    return array.astype(np.int64 if array.dtype.kind in "iu" else np.float64 if exact else np.float32)


def _convert(estimator: Any, rows: Samples) -> onnx.ModelProto:
    with extra("sklearn", "a scikit-learn model"):
        from skl2onnx import convert_sklearn  # noqa: PLC0415 - an extra
        from skl2onnx.common import data_types  # noqa: PLC0415 - an extra
        from skl2onnx.common.exceptions import MissingConverter, MissingShapeCalculator  # noqa: PLC0415 - an extra
    opsets = register_boosters()
    exact = ends_in_booster(estimator)
    kinds = {
        "f": data_types.DoubleTensorType if exact else data_types.FloatTensorType,
        "i": data_types.Int64TensorType,
        "U": data_types.StringTensorType,
    }
    types = [(name, kinds[a.dtype.kind]([None, a.shape[1] if a.ndim > 1 else 1])) for name, a in rows.items()]
    name = type(getattr(estimator, "steps", [(None, estimator)])[-1][1]).__name__
    # Maps of probabilities by class are no tensors.
    taken = cast_before_booster(estimator) if exact else estimator
    options = {id(taken): {"zipmap": False}} if hasattr(estimator, "classes_") else None
    try:
        made: onnx.ModelProto = convert_sklearn(taken, initial_types=types, options=options, target_opset=opsets)
    except (MissingConverter, MissingShapeCalculator) as error:
        raise UserError(f"MODEL: skl2onnx cannot convert {name}: {first_line(error)}") from error
    except Exception as error:
        # Converters fail in ways of their own; HistGradientBoosting of scikit-learn 1.9 is one (base_values).
        raise UserError(
            f"MODEL: converting {name} with skl2onnx failed "
            f"({type(error).__name__}: {first_line(error)[:200]}); "
            "try another estimator, or export ONNX yourself"
        ) from error
    return made
