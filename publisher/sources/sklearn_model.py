"""scikit-learn: a fitted estimator or pipeline, converted with skl2onnx and compared with the original.

A joblib or pickle file is code: it is read here, on the machine of the person who made it, and never by a node.
"""

import contextlib
import importlib
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from publisher.sources.source import DRAWN_ROWS, MOST_ROWS, Samples, Source, check_rows
from serving.bundles.inprocess import run_graph
from serving.errors import InvalidRequestError, ModelError, UserError

_RTOL = 1e-4
_ATOL = 1e-5
"""ONNX graphs compute in 32 bits, scikit-learn in 64: digits beyond these may differ. What is added up to give a small
number may have been as large as the output's largest, so the absolute one is a part of that, or of 1."""


def from_sklearn(model: Any, samples: Samples | NDArray[Any] | None) -> Source:
    """Convert and compare; UserError tells the largest difference, its row and its output."""
    estimator = _read(model) if isinstance(model, Path) else model
    given = _rows(estimator, {"X": samples} if isinstance(samples, np.ndarray) else samples)
    rows = {name: _typed(name, array) for name, array in given.items()}
    graph = _convert(estimator, rows)
    _compare(estimator, graph, given, rows)
    return Source(graph, {name: array[:MOST_ROWS] for name, array in rows.items()})


def _read(path: Path) -> Any:
    try:
        import joblib  # noqa: PLC0415 - an extra
    except ImportError:
        raise UserError("MODEL: a scikit-learn model needs pip install 'nearline[sklearn]'") from None
    if not path.is_file():
        raise InvalidRequestError("MODEL", "a file that exists", path)
    try:
        estimator = joblib.load(path)
    except Exception as error:
        # Unpickling runs code, which raises what it likes.
        raise InvalidRequestError("MODEL", "an ONNX file or a joblib file", f"{path}: {_first_line(error)}") from error
    if not hasattr(estimator, "predict"):
        raise InvalidRequestError("MODEL", "a fitted scikit-learn estimator", type(estimator).__name__)
    return estimator


def _rows(estimator: Any, samples: Samples | None) -> dict[str, NDArray[Any]]:
    """Sample rows: one float input `X`, or an input for each column that the estimator was fitted with."""
    count = getattr(estimator, "n_features_in_", None)
    if isinstance(estimator, type) or count is None:
        name = f"the class {estimator.__name__}" if isinstance(estimator, type) else type(estimator).__name__
        raise UserError(f"MODEL: expected a fitted estimator, got {name} that was not fitted")
    columns = _columns(estimator)
    if samples is None:
        if columns:
            raise UserError(
                f"samples: this pipeline takes the columns {', '.join(columns)} by name; give sample rows (--samples), "
                "a column each"
            )
        drawn = np.random.default_rng(0).standard_normal((DRAWN_ROWS, count))
        return {"X": drawn.astype(np.float32).astype(np.float64)}
    if columns and set(samples) != set(columns):
        raise InvalidRequestError("samples", f"an array for each of the columns {columns}", sorted(samples))
    if not columns and len(samples) != 1:
        raise InvalidRequestError("samples", "one array of rows, for the input X", sorted(samples))
    arrays = {name: np.asarray(samples[name]) for name in columns or samples}
    check_rows(arrays)
    return {name: array.reshape(-1, 1) if array.ndim == 1 and columns else array for name, array in arrays.items()}


def _columns(estimator: Any) -> list[str]:
    """The columns that are chosen by name somewhere in the pipeline: one matrix of numbers will not do."""
    steps = [step for _, step in getattr(estimator, "steps", [])]
    if not any(type(step).__name__ == "ColumnTransformer" for step in (estimator, *steps)):
        return []
    return list(getattr(estimator, "feature_names_in_", []))


def _typed(name: str, array: NDArray[Any]) -> NDArray[Any]:
    """As the graph takes it."""
    if array.dtype.kind in "OU":
        return array.astype(str)
    if array.dtype.kind not in "iufb":
        raise InvalidRequestError(f"samples[{name!r}]", "numbers or strings", array.dtype)
    return array.astype(np.int64 if array.dtype.kind in "iu" else np.float32)


def _convert(estimator: Any, rows: Samples) -> onnx.ModelProto:
    try:
        from skl2onnx import convert_sklearn  # noqa: PLC0415 - an extra
        from skl2onnx.common import data_types  # noqa: PLC0415 - an extra
        from skl2onnx.common.exceptions import MissingConverter, MissingShapeCalculator  # noqa: PLC0415 - an extra
    except ImportError:
        raise UserError("MODEL: a scikit-learn model needs pip install 'nearline[sklearn]'") from None
    kinds = {
        "f": data_types.FloatTensorType,
        "i": data_types.Int64TensorType,
        "U": data_types.StringTensorType,
    }
    types = [(name, kinds[a.dtype.kind]([None, a.shape[1] if a.ndim > 1 else 1])) for name, a in rows.items()]
    name = type(getattr(estimator, "steps", [(None, estimator)])[-1][1]).__name__
    # Maps of probabilities by class are no tensors.
    options = {id(estimator): {"zipmap": False}} if hasattr(estimator, "classes_") else None
    try:
        converted: onnx.ModelProto = convert_sklearn(
            estimator,
            name,  # else a random one, and the same model would have another digest each time
            initial_types=types,
            options=options,
        )
    except (MissingConverter, MissingShapeCalculator) as error:
        raise UserError(f"MODEL: skl2onnx cannot convert {name}: {_first_line(error)}") from error
    except Exception as error:
        # Converters fail in ways of their own; HistGradientBoosting of scikit-learn 1.9 is one (base_values).
        raise UserError(
            f"MODEL: converting {name} with skl2onnx failed "
            f"({type(error).__name__}: {_first_line(error)[:200]}); "
            "try another estimator, or export ONNX yourself"
        ) from error
    return converted


def _compare(estimator: Any, graph: onnx.ModelProto, given: Samples, rows: Samples) -> None:
    """The estimator gets the rows as they were given, so that digits lost on the way into 32 bits show, too."""
    frame = _original_input(estimator, given)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "X does not have valid feature names")
            answers = [("predict", np.asarray(estimator.predict(frame)))]
            if hasattr(estimator, "predict_proba"):
                answers.append(("predict_proba", np.asarray(estimator.predict_proba(frame))))
    except Exception as error:
        # Estimators check their input in ways of their own.
        raise UserError(f"samples: the estimator itself cannot predict for them: {_first_line(error)}") from error
    try:
        outputs = run_graph(graph, rows)
    except ModelError as error:
        raise UserError(f"MODEL: the converted model does not run: {error}") from error
    for (output, expected), actual in zip(answers, outputs, strict=False):
        _equal(output, expected, actual)


def _original_input(estimator: Any, given: Samples) -> Any:
    if not _columns(estimator):
        return next(iter(given.values()))
    columns = {name: array.ravel() for name, array in given.items()}
    for library in ("pandas", "polars"):  # whoever fitted on columns by name has one
        with contextlib.suppress(ImportError):
            return importlib.import_module(library).DataFrame(columns)
    raise UserError("samples: comparing a pipeline over columns needs pandas or polars; pip install pandas")


def _equal(output: str, expected: NDArray[Any], actual: NDArray[Any]) -> None:
    expected, actual = expected.reshape(len(expected), -1), actual.reshape(len(actual), -1)
    if expected.shape != actual.shape:
        raise UserError(
            f"MODEL: {output}: expected the shape {expected.shape}, the converted model gave {actual.shape}"
        )
    if expected.dtype.kind not in "fiub":
        wrong = (expected.astype(str) != actual.astype(str)).any(axis=1)
        difference: NDArray[Any] = wrong.astype(float)
    else:
        scale = np.abs(expected).max(axis=0, where=np.isfinite(expected), initial=1)
        wrong = ~np.isclose(actual, expected, _RTOL, _ATOL * scale, equal_nan=True).all(axis=1)
        with np.errstate(invalid="ignore"):
            gap = np.abs(expected.astype(np.float64) - actual.astype(np.float64))
        difference = np.where(wrong, np.nan_to_num(gap, nan=np.inf).max(axis=1), 0)
    if wrong.any():
        row = int(np.argmax(difference))
        raise UserError(
            f"MODEL: the converted model answers differently: {output}, row {row}: expected {expected[row].tolist()}, "
            f"got {actual[row].tolist()}; largest difference {difference[row]:g}, "
            f"in {int(wrong.sum())} of {len(wrong)} rows"
        )


def _first_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
