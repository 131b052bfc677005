"""scikit-learn: a fitted estimator or pipeline, converted with skl2onnx and compared with the original.

A joblib or pickle file is code: it is read here, on the machine of the person who made it, and never by a node.
"""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from publisher.sources.source import DRAWN_ROWS, Samples, Source
from serving.bundles.inprocess import run_graph
from serving.errors import InvalidRequestError, UserError

_RTOL = 1e-4
_ATOL = 1e-5
"""ONNX graphs compute in 32 bits, scikit-learn in 64: digits beyond these may differ."""


def from_sklearn(model: Any, samples: Samples | None) -> Source:
    """Convert and compare; UserError tells the largest difference, its row and its output."""
    estimator = _read(model) if isinstance(model, Path) else model
    rows = _rows(estimator, samples)
    graph = _convert(estimator, rows)
    _compare(estimator, graph, rows)
    return Source(graph, rows)


def _read(path: Path) -> Any:
    try:
        import joblib  # noqa: PLC0415 - an extra
    except ImportError:
        raise UserError("MODEL: a scikit-learn model needs pip install 'nearline[sklearn]'") from None
    try:
        estimator = joblib.load(path)
    except FileNotFoundError:
        raise InvalidRequestError("MODEL", "a file that exists", path) from None
    except (pickle.UnpicklingError, EOFError, ValueError, KeyError, IndexError, AttributeError, ImportError) as error:
        raise InvalidRequestError("MODEL", "an ONNX file or a joblib file", f"{path}: {error}") from error
    if not hasattr(estimator, "predict"):
        raise InvalidRequestError("MODEL", "a fitted scikit-learn estimator", type(estimator).__name__)
    return estimator


def _rows(estimator: Any, samples: Samples | None) -> dict[str, NDArray[Any]]:
    """Sample rows: one float input `X`, or an input for each column that the estimator was fitted with."""
    if samples:
        return {name: _typed(np.asarray(array)) for name, array in samples.items()}
    count = getattr(estimator, "n_features_in_", None)
    if count is None:
        raise UserError(f"MODEL: expected a fitted estimator, got {type(estimator).__name__} that was not fitted")
    if _by_column(estimator):
        raise UserError("samples: this pipeline takes columns by name; give sample rows, a column each")
    rng = np.random.default_rng(0)
    return {"X": rng.standard_normal((DRAWN_ROWS, count)).astype(np.float32)}


def _by_column(estimator: Any) -> bool:
    """Columns are chosen by name somewhere in the pipeline: one matrix of numbers will not do."""
    steps = [step for _, step in getattr(estimator, "steps", [])]
    return any(type(step).__name__ == "ColumnTransformer" for step in (estimator, *steps))


def _typed(array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.kind in "OU":
        return array.astype(str)
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
    options = {id(estimator): {"zipmap": False}} if hasattr(estimator, "predict_proba") else None
    try:
        converted: onnx.ModelProto = convert_sklearn(estimator, initial_types=types, options=options)
    except (MissingConverter, MissingShapeCalculator) as error:
        raise UserError(f"MODEL: skl2onnx cannot convert {name}: {str(error).splitlines()[0]}") from error
    except Exception as error:
        # Converters fail in ways of their own; HistGradientBoosting of scikit-learn 1.9 is one (base_values).
        raise UserError(
            f"MODEL: converting {name} with skl2onnx failed "
            f"({type(error).__name__}: {str(error).splitlines()[0][:200]}); "
            "try another estimator, or export ONNX yourself"
        ) from error
    return converted


def _compare(estimator: Any, graph: onnx.ModelProto, rows: Samples) -> None:
    shaped = {name: a if a.ndim > 1 else a.reshape(-1, 1) for name, a in rows.items()}
    outputs = run_graph(graph, shaped)
    original = _original_input(rows)
    _equal("predict", np.asarray(estimator.predict(original)), outputs[0])
    if hasattr(estimator, "predict_proba") and len(outputs) > 1:
        _equal("predict_proba", np.asarray(estimator.predict_proba(original)), outputs[1])


def _original_input(rows: Samples) -> Any:
    if list(rows) == ["X"]:
        return rows["X"]
    try:
        import pandas as pd  # noqa: PLC0415 - whoever fitted on columns by name has it
    except ImportError:
        raise UserError("samples: comparing a pipeline over columns needs pandas; pip install pandas") from None
    return pd.DataFrame({name: array.ravel() for name, array in rows.items()})


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
        gap = np.abs(expected.astype(np.float64) - actual.astype(np.float64))
        wrong = (gap > _ATOL + _RTOL * np.abs(expected)).any(axis=1)
        difference = gap.max(axis=1)
    if wrong.any():
        row = int(np.argmax(difference))
        raise UserError(
            f"MODEL: the converted model answers differently: {output}, row {row}: expected {expected[row].tolist()}, "
            f"got {actual[row].tolist()}; largest difference {difference[row]:g}, "
            f"in {int(wrong.sum())} of {len(wrong)} rows"
        )
