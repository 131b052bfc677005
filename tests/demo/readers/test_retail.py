from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest

from serving.demo.purchases import Purchases
from serving.demo.readers.files import read_purchases
from serving.errors import InvalidRequestError
from tests.demo.readers.workbook import Date, Rows, write_workbook

COLUMNS = ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country")
SECOND = ("Invoice", "StockCode", "Description", "Quantity", "InvoiceDate", "Price", "Customer ID", "Country")
TIME = datetime(2010, 12, 1, 8, 26, tzinfo=UTC)
EXCEL_DAY_ZERO = datetime(1899, 12, 30, tzinfo=UTC)


class Line(NamedTuple):
    invoice: str
    code: str
    quantity: int
    minutes: int
    customer: int | None


# Kept: the first, the second and the last; in this order of time: 71053, 85123A, 22423.
LINES = [
    Line("536365", "85123A", 6, 60, 17850),
    Line("536365", "71053", 2, 0, 17850),
    Line("536366", "22423", 1, 5, 0),
    Line("536366", "22423", 1, 5, None),
    Line("C536367", "22423", 3, 6, 12583),
    Line("536368", "22423", -1, 7, 12583),
    Line("536369", "22423", 1, 90, 12583),
]


def frame() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "InvoiceNo": [line.invoice for line in LINES],
            "StockCode": [line.code for line in LINES],
            "Description": ["£ LANTERN"] * len(LINES),
            "Quantity": [line.quantity for line in LINES],
            "InvoiceDate": [(TIME + timedelta(minutes=line.minutes)).replace(tzinfo=None) for line in LINES],
            "UnitPrice": [2.55] * len(LINES),
            "CustomerID": [line.customer for line in LINES],
            "Country": ["United Kingdom"] * len(LINES),
        }
    )


def second(table: pl.DataFrame) -> pl.DataFrame:
    renamed = table.rename(dict(zip(COLUMNS, SECOND, strict=True)))
    return renamed.with_columns(pl.col("Customer ID").cast(pl.Float64))


def check(purchases: Purchases) -> None:
    rows = [
        (purchases.entity_ids[entity], purchases.item_ids[item], ts)
        for entity, item, ts in zip(
            purchases.entities.tolist(), purchases.items.tolist(), purchases.ts.tolist(), strict=True
        )
    ]
    at = [int((TIME + timedelta(minutes=minutes)).timestamp() * 1000) for minutes in (0, 60, 90)]
    assert rows == [("17850", "71053", at[0]), ("17850", "85123A", at[1]), ("12583", "22423", at[2])]


def test_parquet_keeps_purchases_of_known_customers_in_order_of_time(tmp_path: Path) -> None:
    frame().write_parquet(tmp_path / "r.parquet")
    check(read_purchases(tmp_path / "r.parquet"))


def test_parquet_with_a_time_zone_is_read_as_the_same_instant(tmp_path: Path) -> None:
    zoned = frame().with_columns(
        pl.col("InvoiceDate").dt.replace_time_zone("UTC").dt.convert_time_zone("Europe/Berlin")
    )
    zoned.write_parquet(tmp_path / "r.parquet")
    check(read_purchases(tmp_path / "r.parquet"))


def test_parquet_of_version_two(tmp_path: Path) -> None:
    second(frame()).write_parquet(tmp_path / "r.parquet")
    check(read_purchases(tmp_path / "r.parquet"))


@pytest.mark.parametrize("form", ["%Y-%m-%d %H:%M:%S", "%-m/%-d/%Y %-H:%M", "%-m/%-d/%y %-H:%M", "%Y-%m-%dT%H:%M:%S"])
def test_csv_in_every_form_of_dates(tmp_path: Path, form: str) -> None:
    frame().with_columns(pl.col("InvoiceDate").dt.strftime(form)).write_csv(tmp_path / "r.csv")
    check(read_purchases(tmp_path / "r.csv"))


def test_csv_of_version_two_with_customers_as_fractions(tmp_path: Path) -> None:
    second(frame()).write_csv(tmp_path / "r.csv")
    assert "17850.0" in (tmp_path / "r.csv").read_text()
    check(read_purchases(tmp_path / "r.csv"))


def test_csv_that_is_not_utf8(tmp_path: Path) -> None:
    frame().write_csv(tmp_path / "r.csv")
    (tmp_path / "r.csv").write_bytes((tmp_path / "r.csv").read_text().encode("latin-1"))
    check(read_purchases(tmp_path / "r.csv"))


def test_excel_with_codes_of_both_kinds_on_two_sheets(tmp_path: Path) -> None:
    rows = [
        [
            line.invoice if line.invoice[0] == "C" else float(line.invoice),
            line.code if line.code[-1] == "A" else float(line.code),
            "LANTERN",
            line.quantity,
            Date((TIME + timedelta(minutes=line.minutes) - EXCEL_DAY_ZERO) / timedelta(days=1)),
            2.55,
            "" if line.customer is None else float(line.customer),
            "United Kingdom",
        ]
        for line in LINES
    ]
    sheets: dict[str, Rows] = {
        "Year 2009-2010": [SECOND, *rows[:3]],
        "Notes": [["made", "by hand"]],
        "Year 2010-2011": [SECOND, *rows[3:]],
    }
    write_workbook(tmp_path / "r.xlsx", sheets)
    check(read_purchases(tmp_path / "r.xlsx"))


def test_a_date_that_is_none_is_named(tmp_path: Path) -> None:
    frame().with_columns(pl.lit("yesterday").alias("InvoiceDate")).write_csv(tmp_path / "r.csv")
    with pytest.raises(InvalidRequestError, match=r"InvoiceDate: expected 2010-12-01 08:26:00 .* got 'yesterday'"):
        read_purchases(tmp_path / "r.csv")
