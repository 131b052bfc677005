"""Rows for a model that takes one matrix of numbers: `X`, FP32 [batch, columns]."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from publisher.sources.source import DRAWN_ROWS, Samples, check_rows
from serving.errors import InvalidRequestError, UserError

INPUT = "X"


def matrix_rows(samples: Samples | NDArray[Any] | None, width: int, columns: Sequence[str] = ()) -> NDArray[Any]:
    """Return [rows, width]: the given matrix, or its columns by name in the order of training, or drawn rows.

    Drawn ones are normal numbers of 32 bits, so both sides see the same and hardly one lies on the edge of a split.
    """
    if samples is None:
        return np.random.default_rng(0).standard_normal((DRAWN_ROWS, width)).astype(np.float32).astype(np.float64)
    if isinstance(samples, np.ndarray):
        samples = {INPUT: samples}
    if len(samples) > 1 or set(samples) & set(columns):
        samples = {INPUT: _stacked(samples, columns)}
    check_rows(samples)
    rows = np.asarray(next(iter(samples.values())))
    if rows.dtype.kind not in "iufb":
        raise InvalidRequestError("samples", "numbers", f"{rows.dtype} in input {INPUT}")
    if rows.ndim != 2 or rows.shape[1] != width:  # noqa: PLR2004 - [rows, width]
        raise InvalidRequestError("samples", f"rows of {width} columns", f"an array of shape {rows.shape}")
    return rows


def _stacked(samples: Samples, columns: Sequence[str]) -> NDArray[Any]:
    if not columns:
        raise InvalidRequestError("samples", f"one array of rows, for the input {INPUT}", sorted(samples))
    if missing := sorted(set(columns) - set(samples)):
        raise InvalidRequestError("samples", f"the columns {', '.join(columns)}", f"none for {', '.join(missing)}")
    chosen = {name: np.asarray(samples[name]) for name in columns}
    check_rows(chosen)
    for name, array in chosen.items():
        if array.dtype.kind not in "iufb":
            raise InvalidRequestError(f"samples[{name!r}]", "numbers", array.dtype)
    return np.column_stack(list(chosen.values()))


def in_32_bits(rows: NDArray[Any]) -> NDArray[np.float32]:
    """As the graph takes them; UserError for whole numbers that 32 bits do not hold, such as times in seconds."""
    with np.errstate(over="ignore"):
        taken = rows.astype(np.float32)
    with np.errstate(invalid="ignore"):
        lost = np.isfinite(rows) & (rows == np.floor(rows)) & (taken.astype(np.float64) != rows)
    if lost.any():
        row, column = np.argwhere(lost)[0].tolist()
        raise UserError(
            f"samples: column {column}, row {row}: {rows[row, column]:.0f} does not fit into the 32 bits of the "
            "graph's input; give the model smaller numbers, such as a difference"
        )
    return taken
