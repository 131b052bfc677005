"""Whether a converted model answers as the original does."""

import contextlib
import importlib
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from publisher.sources.source import Samples
from serving.bundles.inprocess import run_graph
from serving.errors import ModelError, UserError

_RTOL = 1e-4
_ATOL = 1e-5
"""ONNX graphs compute in 32 bits, scikit-learn in 64: digits beyond these may differ. What is added up to give a small
number may have been as large as the output's largest, so the absolute one is a part of that, or of 1."""


def check_agreement(
    estimator: Any, columns: Sequence[str], graph: onnx.ModelProto, given: Samples, rows: Samples
) -> None:
    """Compare what the graph answers for `rows` with what the estimator answers for the same rows as `given`.

    As they were given, so that digits lost on the way into 32 bits show, too. `columns`: those that the estimator
    takes by name. UserError tells the largest difference, its row and its output.
    """
    frame = _original_input(columns, given)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "X does not have valid feature names")
            answers = [("predict", np.asarray(estimator.predict(frame)))]
            if hasattr(estimator, "predict_proba"):
                answers.append(("predict_proba", np.asarray(estimator.predict_proba(frame))))
    except Exception as error:
        # Estimators check their input in ways of their own.
        raise UserError(f"samples: the estimator itself cannot predict for them: {first_line(error)}") from error
    try:
        outputs = run_graph(graph, rows)
    except ModelError as error:
        raise UserError(f"MODEL: the converted model does not run: {error}") from error
    for (output, expected), actual in zip(answers, outputs, strict=False):
        check_equal(output, expected, actual)


def _original_input(columns: Sequence[str], given: Samples) -> Any:
    if not columns:
        return next(iter(given.values()))
    by_name = {name: array.ravel() for name, array in given.items()}
    for library in ("pandas", "polars"):  # whoever fitted on columns by name has one
        with contextlib.suppress(ImportError):
            return importlib.import_module(library).DataFrame(by_name)
    raise UserError("samples: comparing a pipeline over columns needs pandas or polars; pip install pandas")


def check_equal(output: str, expected: NDArray[Any], actual: NDArray[Any]) -> None:
    """Compare an output, [rows, …]; UserError with the row that differs most."""
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


def first_line(error: Exception) -> str:
    """The words of a foreign error that fit in one line."""
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
