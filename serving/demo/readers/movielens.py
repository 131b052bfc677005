"""MovieLens (GroupLens, https://grouplens.org/datasets/movielens/): who rated which film. A rating says: seen."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from serving.demo.purchases import Purchases
from serving.demo.readers.columns import to_purchases
from serving.errors import InvalidRequestError

COLUMNS = ("userId", "movieId", "rating", "timestamp")
HEADERLESS = {"u.data": "\t", "ratings.dat": "::"}
"""Files without a header, and what separates their columns, which are COLUMNS."""

NAMES = ("ratings.csv", *HEADERLESS)


def matches(columns: Sequence[str]) -> bool:
    """Tell whether these are the columns of a table of ratings."""
    return {"userId", "movieId", "timestamp"} <= set(columns)


def read_headerless(path: Path) -> pl.DataFrame:
    """Read u.data or ratings.dat; InvalidRequestError when it has other columns."""
    separator = HEADERLESS[path.name]
    # polars separates by one character: of two, every second column is empty.
    width = len(separator)
    table = pl.read_csv(path, separator=separator[0], has_header=False, infer_schema=False)
    if table.width != width * (len(COLUMNS) - 1) + 1:
        raise InvalidRequestError("--data", f"the columns {', '.join(COLUMNS)}", f"{table.width} columns in {path}")
    columns = table.columns[::width]
    return table.select(columns).rename(dict(zip(columns, COLUMNS, strict=True)))


def purchases(tables: Sequence[pl.DataFrame]) -> Purchases:
    """Read ratings, in seconds since the epoch; InvalidRequestError for a time that is none."""
    table = pl.concat([each.select("userId", "movieId", "timestamp") for each in tables])
    timed = table.select(
        pl.col("userId").cast(pl.String).alias("entity"),
        pl.col("movieId").cast(pl.String).alias("item"),
        (pl.col("timestamp").cast(pl.Int64, strict=False) * 1000).alias("ts"),
    )
    bad = table.filter(timed["ts"].is_null())
    if bad.height:
        raise InvalidRequestError("timestamp", "seconds since the epoch", repr(bad["timestamp"][0]))
    return to_purchases(timed)
