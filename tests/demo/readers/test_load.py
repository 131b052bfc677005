import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from serving.demo.readers.load import load
from serving.demo.workload import generate
from serving.errors import InvalidRequestError, UserError

DAY = 24 * 3600


def ratings(path: Path, lines: Iterable[tuple[int, int, int]]) -> Path:
    text = "".join(f"{user},{film},4.0,{day * DAY}\n" for user, film, day in lines)
    path.write_text("userId,movieId,rating,timestamp\n" + text)
    return path


def test_without_a_path_the_stream_is_generated() -> None:
    assert np.array_equal(load(None, 3).items, generate(3).items)


def test_a_file_of_a_few_months_is_loaded(tmp_path: Path) -> None:
    path = ratings(tmp_path / "r.csv", ((day % 7, day % 11, day) for day in range(200)))
    assert len(load(path, 0).held_out) == 31


def test_a_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match=r"--data: expected a file or folder that exists, got .*nowhere"):
        load(tmp_path / "nowhere", 0)


def test_other_columns_are_named_beside_the_expected_ones(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("who,what\n1,2\n")
    with pytest.raises(InvalidRequestError, match=r"InvoiceNo, StockCode.*userId, movieId.* got who, what in"):
        load(tmp_path / "r.csv", 0)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r.pdf").write_text("")
    with pytest.raises(InvalidRequestError, match=r"expected the columns .* got a file of another kind"):
        load(tmp_path / "r.pdf", 0)


@pytest.mark.parametrize("name", ["r.parquet", "r.xlsx", "r.csv"])
def test_a_broken_file_is_the_users_error(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(InvalidRequestError, match=f"expected a readable .{name[2:]}"):
        load(tmp_path / name, 0)


def test_a_folder_without_ratings_says_what_it_has(tmp_path: Path) -> None:
    (tmp_path / "movies.csv").write_text("")
    with pytest.raises(InvalidRequestError, match=r"one of ratings.csv, u.data, ratings.dat, got movies.csv in"):
        load(tmp_path, 0)


def test_too_few_purchases_are_the_users_error(tmp_path: Path) -> None:
    path = ratings(tmp_path / "r.csv", [(1, 1, 1)])
    with pytest.raises(UserError, match="expected at least 100 purchases of known customers, got 1"):
        load(path, 0)


def test_customers_who_never_come_back_are_the_users_error(tmp_path: Path) -> None:
    path = ratings(tmp_path / "r.csv", ((day, day % 11, day) for day in range(200)))
    with pytest.raises(UserError, match=r"bought in the last month and before it, got none in 200 purchases"):
        load(path, 0)


@pytest.mark.parametrize("module", ["polars", "fastexcel"])
def test_a_missing_package_is_one_line_that_says_what_to_install(
    tmp_path: Path, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    for name in [name for name in sys.modules if name.startswith("serving.demo.readers.")]:
        if not name.endswith(".load"):
            monkeypatch.delitem(sys.modules, name)
    path = tmp_path / "r.xlsx"
    path.write_bytes(b"PK")
    with pytest.raises(UserError, match=rf"needs {module}: pip install 'nearline\[data\]'$") as raised:
        load(path, 0)
    assert "\n" not in str(raised.value)
