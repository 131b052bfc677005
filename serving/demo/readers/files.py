"""Opens a file or folder, and knows by names and columns what it holds."""

from pathlib import Path

import polars as pl

from serving.demo.purchases import Purchases
from serving.demo.readers import movielens, retail
from serving.errors import InvalidRequestError, UserError

_EXPECTED = (
    f"the columns {', '.join(retail.COLUMNS)} (UCI Online Retail; Parquet, CSV or Excel) or "
    f"{', '.join(movielens.COLUMNS)} (MovieLens: ratings.csv, u.data, ratings.dat, or their folder)"
)
_EXCEL = {".xlsx", ".xls", ".xlsb"}


def read_purchases(path: Path) -> Purchases:
    """Read; InvalidRequestError names what was expected and what is there."""
    if path.is_dir():
        path = _inside(path)
    tables = _read(path)
    if known := [table for table in tables if retail.matches(table.columns)]:
        return retail.purchases(known)
    if known := [table for table in tables if movielens.matches(table.columns)]:
        return movielens.purchases(known)
    columns = ", ".join(tables[0].columns[:20]) if tables else "no columns"
    raise InvalidRequestError("--data", _EXPECTED, f"{columns} in {path}")


def _inside(folder: Path) -> Path:
    for name in movielens.NAMES:
        if (folder / name).is_file():
            return folder / name
    found = ", ".join(sorted(path.name for path in folder.iterdir())[:20]) or "nothing"
    raise InvalidRequestError("--data", f"a folder with one of {', '.join(movielens.NAMES)}", f"{found} in {folder}")


def _read(path: Path) -> list[pl.DataFrame]:
    """Return the tables of a file, one for each sheet; text stays text where the format does not type it."""
    suffix = path.suffix.lower()
    try:
        if path.name in movielens.HEADERLESS:
            return [movielens.read_headerless(path)]
        if suffix == ".parquet":
            return [pl.read_parquet(path)]
        if suffix in _EXCEL:
            # Read as text: a column of product codes that begins with numbers would become numbers.
            return list(pl.read_excel(path, sheet_id=0, infer_schema_length=0).values())
        if suffix == ".csv":
            # The original is not UTF-8; only descriptions suffer from a lossy reading.
            return [pl.read_csv(path, infer_schema=False, encoding="utf8-lossy")]
    except ModuleNotFoundError as error:
        # polars imports what reads Excel when it needs it.
        raise UserError(f"reading {path} needs fastexcel: pip install 'nearline[data]'") from error
    except Exception as error:
        # polars, calamine and the codecs raise several types without a common one but Exception.
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise InvalidRequestError("--data", f"a readable {suffix or 'file'}", f"{path}: {said}") from error
    raise InvalidRequestError("--data", _EXPECTED, f"a file of another kind, {path}")
