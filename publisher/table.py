"""Columns of a table, one at a time: a file (Parquet, CSV), a frame of polars or pandas, arrays by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.errors import InvalidRequestError, UserError

Column = NDArray[Any]
_EXPECTED = "a path of a Parquet or CSV file, a data frame, or an array for each input"


@dataclass(frozen=True, slots=True)
class Table:
    """`rows` of columns by name, each read when asked for. Lists in a column are one array of all their values."""

    rows: int
    columns: Mapping[str, Callable[[], Column]]


def read_table(data: Any, field: str) -> Table:
    """Look at a table of whatever kind; InvalidRequestError names `field`, UserError a library that is missing."""
    if isinstance(data, str | Path):
        return _file(Path(data), field)
    if isinstance(data, Mapping):
        arrays = {str(name): np.atleast_1d(array) for name, array in data.items()}
        sizes = {len(array) for array in arrays.values()}
        if len(sizes) != 1 or min(sizes) < 1:
            raise InvalidRequestError(field, "arrays with the same number of rows, at least one", sorted(sizes))
        return Table(sizes.pop(), {name: _given(array) for name, array in arrays.items()})
    if hasattr(data, "columns") and hasattr(data, "__getitem__"):  # a frame of polars or pandas
        if not len(data):
            raise InvalidRequestError(field, "at least one row", "none")
        return Table(len(data), {str(name): _of_frame(data, name) for name in data.columns})
    raise InvalidRequestError(field, _EXPECTED, type(data).__name__)


def _given(array: Column) -> Callable[[], Column]:
    return lambda: array


def _of_frame(frame: Any, name: Any) -> Callable[[], Column]:
    return lambda: _array(frame[name])


def _file(path: Path, field: str) -> Table:
    try:
        import polars as pl  # noqa: PLC0415 - an extra
    except ImportError:
        raise UserError(f"{field}: a file needs the polars library; pip install 'nearline[data]'") from None
    scans: dict[str, Callable[[Path], pl.LazyFrame]] = {".parquet": pl.scan_parquet, ".csv": pl.scan_csv}
    if path.suffix not in scans:
        raise InvalidRequestError(field, "a file ending in .parquet or .csv", path)
    try:
        frame = scans[path.suffix](path)
        names = frame.collect_schema().names()
        rows = int(frame.select(pl.len()).collect().item())
    except (OSError, pl.exceptions.PolarsError) as error:
        raise InvalidRequestError(
            field, "a Parquet or CSV file", f"{path}: {' '.join(str(error).split())[:200]}"
        ) from None
    if not rows:
        raise InvalidRequestError(field, "at least one row", f"none in {path}")

    def read(name: str) -> Callable[[], Column]:
        return lambda: _array(frame.select(name).collect().to_series())

    return Table(rows, {name: read(name) for name in names})


def _array(series: Any) -> Column:
    """A column of polars or pandas: numbers with NaN, booleans where nothing is missing, else objects with None."""
    if type(series).__module__.partition(".")[0] == "polars":
        while hasattr(series.dtype, "inner"):  # lists, and lists of lists
            series = series.explode()
        array = series.to_numpy()
    elif getattr(series.dtype, "kind", "O") in "iufbM" and isinstance(series.dtype, np.dtype):
        array = series.to_numpy()
    else:
        array = series.astype(object).where(series.notna(), None).to_numpy()
    return array.astype(np.int64) if array.dtype.kind in "mM" else _flat(np.asarray(array))


def _flat(array: Column) -> Column:
    """Objects: lists one after the other, numbers as numbers."""
    if array.dtype.kind != "O":
        return array
    first = next((value for value in array if value is not None), None)
    if isinstance(first, list | tuple | np.ndarray):
        return _flat(np.array([one for values in array if values is not None for one in values], dtype=object))
    if isinstance(first, int | float | np.number) and not isinstance(first, bool):
        return np.array([np.nan if value is None else value for value in array], np.float64)
    return array
