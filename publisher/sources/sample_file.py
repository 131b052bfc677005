"""Sample rows in a table: Parquet or CSV, a column for each input or for each column of the only one."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.errors import InvalidRequestError, UserError

MOST = 10_000
"""Rows that are read: enough to compare on, and a table of training rows may be given as it is."""
SUFFIXES = frozenset({".parquet", ".csv"})


def read_table(path: Path) -> dict[str, NDArray[Any]]:
    """Return an array for each column: [rows], or [rows, n] for one of lists; a missing number is NaN."""
    try:
        import polars as pl  # noqa: PLC0415 - an extra
    except ImportError:
        raise UserError("--sample: Parquet and CSV need pip install 'nearline[data]'") from None
    try:
        frame = (pl.scan_parquet(path) if path.suffix == ".parquet" else pl.scan_csv(path)).head(MOST).collect()
        return {column.name: _array(column) for column in frame.iter_columns()}
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        said = next(iter(str(error).splitlines()), "")
        raise InvalidRequestError(
            "--sample", f"a {path.suffix} file of numbers and strings", f"{path}: {said}"
        ) from None


def _array(column: Any) -> NDArray[Any]:
    if column.dtype.is_nested():
        return np.stack([np.asarray(row) for row in column])
    if column.null_count() and not column.dtype.is_numeric():
        raise ValueError(f"column {column.name!r} has empty cells")
    array: NDArray[Any] = column.to_numpy()
    return array.astype(str) if array.dtype.kind == "O" else array
