"""UCI Online Retail (doi:10.24432/C5BW33) and Online Retail II (doi:10.24432/C5CG6D): lines of a shop's invoices."""

from collections.abc import Sequence

import polars as pl

from serving.demo.purchases import Purchases
from serving.demo.readers.columns import to_purchases
from serving.errors import InvalidRequestError

COLUMNS = ("InvoiceNo", "StockCode", "Quantity", "InvoiceDate", "CustomerID")
_SECOND = {"invoice": "invoiceno"}
"""Names that version II gives to the same columns, simplified."""

_NEEDED = tuple(name.lower() for name in COLUMNS)
_FORMATS = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%m/%d/%y %H:%M", "%m/%d/%Y %H:%M", "%m/%d/%Y %H:%M:%S")
"""Two-digit years come first: `%Y` would read 10 as the year 10."""


def matches(columns: Sequence[str]) -> bool:
    """Tell whether these are the columns of an invoice table."""
    return set(_NEEDED) <= {_simple(name) for name in columns}


def purchases(tables: Sequence[pl.DataFrame]) -> Purchases:
    """Read the lines of known customers; cancellations are left out. InvalidRequestError for a time that is none."""
    table = pl.concat([_texts(each) for each in tables])
    bought = table.filter(
        pl.col("customerid").is_not_null(),
        ~pl.col("customerid").is_in(["", "0"]),
        pl.col("stockcode") != "",
        ~pl.col("invoiceno").fill_null("").str.to_uppercase().str.starts_with("C"),
        pl.col("quantity").cast(pl.Float64, strict=False) > 0,
    )
    times = pl.coalesce(pl.col("invoicedate").str.to_datetime(form, time_unit="ms", strict=False) for form in _FORMATS)
    timed = bought.with_columns(times.dt.epoch("ms").alias("ts"))
    bad = timed.filter(pl.col("ts").is_null())
    if bad.height:
        raise InvalidRequestError("InvoiceDate", "2010-12-01 08:26:00 or 12/1/2010 8:26", repr(bad["invoicedate"][0]))
    return to_purchases(timed.select(pl.col("customerid").alias("entity"), pl.col("stockcode").alias("item"), "ts"))


def _texts(table: pl.DataFrame) -> pl.DataFrame:
    """Return the needed columns as text, without blanks around it; numbers that became fractional lose their `.0`."""
    named = table.rename({name: _simple(name) for name in table.columns if _simple(name) in _NEEDED})
    time = pl.col("invoicedate")
    if (kind := named.schema["invoicedate"]).is_temporal():
        utc = time.dt.convert_time_zone("UTC") if getattr(kind, "time_zone", None) else time
        time = utc.cast(pl.Datetime("ms")).dt.strftime(_FORMATS[0].removesuffix("%.f"))
    return named.select(
        *(
            pl.col(name).cast(pl.String).str.strip_chars().str.replace(r"\.0$", "")
            for name in _NEEDED
            if name != "invoicedate"
        ),
        time.cast(pl.String).str.strip_chars(),
    )


def _simple(name: str) -> str:
    simple = name.strip().lower().replace(" ", "").replace("_", "")
    return _SECOND.get(simple, simple)
