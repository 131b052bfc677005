"""Whether a converted model answers as the original does: one rule for every framework."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from publisher.sources.source import Agreement, Samples
from serving.bundles.inprocess import run_graph
from serving.errors import ModelError, UserError

TOLERANCES: dict[np.dtype[Any], tuple[float, float]] = {
    np.dtype(np.float16): (1e-2, 1e-3),
    np.dtype(np.float32): (1e-4, 1e-5),
    np.dtype(np.float64): (1e-7, 1e-9),
}
"""Relative and absolute difference by the coarser dtype of both answers: they add up in another order, and graphs often
compute in 32 bits what the original does in 64. What is added up to give a small number may have been as large as the
output's largest, so the absolute one is a part of that, or of 1. Everything else has to be equal."""

Answer = tuple[str, NDArray[Any] | None]
"""What the original says for an output of the graph, and how it is called there; None: it has no such answer."""


def check_agreement(
    graph: onnx.ModelProto, rows: Samples, answers: Sequence[Answer]
) -> tuple[Agreement | None, list[NDArray[Any]]]:
    """Compare what the graph answers for `rows` with the original's `answers`, in the order of the graph's outputs.

    Return the largest difference and the graph's own answers. UserError tells the difference, its row and its output.
    """
    try:
        outputs = run_graph(graph, rows)
    except ModelError as error:
        raise UserError(f"MODEL: the converted model does not run: {error}") from error
    if len(answers) > len(outputs):
        raise UserError(f"MODEL: expected {len(answers)} outputs, the converted model has {len(outputs)}")
    found = [
        check_equal(output, expected, actual)
        for (output, expected), actual in zip(answers, outputs, strict=False)
        if expected is not None
    ]
    return max(found, key=lambda one: one.difference, default=None), outputs


def check_equal(output: str, expected: NDArray[Any], actual: NDArray[Any]) -> Agreement:
    """Compare an output, [rows, …]; UserError with the row that differs most."""
    if not expected.ndim or not actual.ndim:
        expected, actual = np.atleast_1d(expected), np.atleast_1d(actual)
    expected, actual = expected.reshape(len(expected), -1), actual.reshape(len(actual), -1)
    if expected.shape != actual.shape:
        raise UserError(
            f"MODEL: {output}: expected the shape {expected.shape}, the converted model gave {actual.shape}"
        )
    limits = [TOLERANCES[array.dtype] for array in (expected, actual) if array.dtype in TOLERANCES]
    if not all(array.dtype in TOLERANCES or array.dtype.kind in "iub" for array in (expected, actual)):
        wrong = expected.astype(str) != actual.astype(str)
        gap: NDArray[Any] = wrong.astype(float)
    else:
        rtol, atol = max(limits, default=(0.0, 0.0))
        wide = [array.astype(np.float64) if limits else array for array in (expected, actual)]
        scale = np.abs(wide[0]).max(axis=0, where=np.isfinite(wide[0]), initial=1)
        wrong = ~np.isclose(wide[1], wide[0], rtol, atol * scale, equal_nan=True) if limits else wide[1] != wide[0]
        with np.errstate(invalid="ignore"):
            gap = np.abs(wide[0].astype(np.float64) - wide[1].astype(np.float64))
        gap = np.where(wrong, np.nan_to_num(gap, nan=np.inf), np.nan_to_num(gap, nan=0, posinf=0))
    bad = wrong.any(axis=1)
    difference = gap.max(axis=1, initial=0)
    row = int(np.argmax(np.where(bad, difference, -1) if bad.any() else difference))
    if bad.any():
        raise UserError(
            f"MODEL: the converted model answers differently: {output}, row {row}: expected {_said(expected[row])}, "
            f"got {_said(actual[row])}; largest difference {difference[row]:g}, "
            f"in {int(bad.sum())} of {len(bad)} rows"
        )
    return Agreement(output, row, float(difference[row]), len(bad))


_SHOWN = 8


def _said(values: NDArray[Any]) -> str:
    shown = ", ".join(repr(value) for value in values[:_SHOWN].tolist())
    return f"[{shown}{', …' if len(values) > _SHOWN else ''}]"
