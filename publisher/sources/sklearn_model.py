"""scikit-learn: a fitted estimator or pipeline, converted with skl2onnx and compared with the original.

A joblib or pickle file is code: it is read here, on the machine of the person who made it, and never by a node.
"""

from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from publisher.sources.agreement import check_agreement, first_line
from publisher.sources.source import DRAWN_ROWS, MOST_ROWS, Samples, Source, check_rows
from serving.errors import InvalidRequestError, UserError


def from_sklearn(model: Any, samples: Samples | NDArray[Any] | None) -> Source:
    """Convert and compare; UserError tells the largest difference, its row and its output."""
    estimator = _read(model) if isinstance(model, Path) else model
    given = _rows(estimator, {"X": samples} if isinstance(samples, np.ndarray) else samples)
    rows = {name: _typed(name, array) for name, array in given.items()}
    graph = _convert(estimator, rows)
    check_agreement(estimator, _columns(estimator), graph, given, rows)
    kept = {name: array[:MOST_ROWS] for name, array in rows.items()}
    return Source(graph, kept, "scikit-learn", metadata.version("scikit-learn"))


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
        raise InvalidRequestError("MODEL", "an ONNX file or a joblib file", f"{path}: {first_line(error)}") from error
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
        raise UserError(f"MODEL: skl2onnx cannot convert {name}: {first_line(error)}") from error
    except Exception as error:
        # Converters fail in ways of their own; HistGradientBoosting of scikit-learn 1.9 is one (base_values).
        raise UserError(
            f"MODEL: converting {name} with skl2onnx failed "
            f"({type(error).__name__}: {first_line(error)[:200]}); "
            "try another estimator, or export ONNX yourself"
        ) from error
    return converted
