"""From training data in whatever form to sketches of each input."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from publisher.baseline import make_baseline
from serving.bundles.baseline import Baseline
from serving.bundles.catalogue import make_catalogue
from serving.bundles.manifest import Tensor
from serving.errors import InvalidRequestError
from serving.recipes.features import LastN, Request
from serving.recipes.recipe import Recipe

X = (Tensor(name="X", datatype="FP32", shape=(-1, 2)),)
COLUMNS = (
    Tensor(name="age", datatype="FP32", shape=(-1, 1)),
    Tensor(name="town", datatype="BYTES", shape=(-1, 1)),
)
HISTORY = (Tensor(name="history", datatype="INT64", shape=(-1, 3)),)
SAMPLES = {"X": np.zeros((16, 2), np.float32)}
AGES = [20.0, 30.0, None, 40.0]
TOWNS = ["Rom", "Bonn", "Rom", None]


def made(data: Any, inputs: tuple[Tensor, ...], recipe: Recipe | None = None, items: tuple[str, ...] = ()) -> Baseline:
    return make_baseline(data, SAMPLES, inputs, recipe or {}, make_catalogue(items, []) if items else None)


def frame() -> pl.DataFrame:
    return pl.DataFrame({"age": AGES, "town": TOWNS, "label": [1, 0, 1, 0]})


def files(folder: Path) -> list[Any]:
    frame().write_parquet(folder / "rows.parquet")
    frame().write_csv(folder / "rows.csv")
    return [folder / "rows.parquet", str(folder / "rows.csv")]


def test_every_form_of_the_same_rows_is_the_same_baseline(tmp_path: Path) -> None:
    arrays = {"age": np.array([20, 30, np.nan, 40], np.float32), "town": np.array(TOWNS, object)}
    pandas = pd.DataFrame({"age": AGES, "town": TOWNS, "label": 1})
    forms = [frame(), pandas, pandas.convert_dtypes(), arrays, *files(tmp_path)]
    bytes_of = {made(form, COLUMNS).encode() for form in forms}
    assert len(bytes_of) == 1
    said = made(frame(), COLUMNS).summary()
    assert (said["source"], said["rows"], sorted(said["attributes"])) == ("training data", 4, ["age", "town"])
    age, town = said["attributes"]["age"], said["attributes"]["town"]
    assert (age["kind"], age["count"], age["missing"], age["quantiles"]["0.5"]) == ("numbers", 3, 1, 30)
    assert (town["kind"], town["count"], town["missing"]) == ("categories", 3, 1)
    assert town["frequent"] == {"Rom": 2, "Bonn": 1}


def test_each_column_of_a_matrix_is_an_attribute() -> None:
    said = made(np.array([[1.0, 10.0], [2.0, 20.0]]), X).summary()["attributes"]
    assert {name: one["quantiles"]["1"] for name, one in said.items()} == {"X[0]": 2, "X[1]": 20}


def test_columns_of_a_table_may_be_those_of_the_only_input() -> None:
    assert sorted(made(pd.DataFrame({"a": [1.0], "b": [2.0]}), X).attributes) == ["a", "b"]


def test_a_very_wide_matrix_is_one_attribute() -> None:
    wide = (Tensor(name="e", datatype="FP32", shape=(-1, 300)),)
    assert made(np.zeros((2, 300)), wide).summary()["attributes"]["e"]["count"] == 600


def test_rows_of_the_catalogue_are_its_items_and_padding_is_missing(tmp_path: Path) -> None:
    recipe: Recipe = {"history": LastN(n=3)}
    rows = [[-1, 0, 1], [-1, -1, 1]]
    table = pl.DataFrame({"history": rows})
    table.write_parquet(tmp_path / "h.parquet")
    forms = [{"history": np.array(rows)}, table, pd.DataFrame({"history": rows}), tmp_path / "h.parquet"]
    for form in forms:
        said = made(form, HISTORY, recipe, ("tea", "milk")).summary()
        assert said["rows"] == 2
        assert said["attributes"]["history"]["frequent"] == {"milk": 2, "tea": 1}
        assert said["attributes"]["history"]["missing"] == 3


def test_rows_of_a_vocabulary_of_ones_own_are_its_words() -> None:
    inputs = (Tensor(name="page", datatype="INT64", shape=(-1,)),)
    recipe: Recipe = {"page": Request(field="page", default="home", vocabulary=("home", "cart"))}
    assert made(np.array([1, 1, 0, 7]), inputs, recipe).summary()["attributes"]["page"]["frequent"] == {
        "cart": 2,
        "7": 1,
        "home": 1,
    }


def test_without_training_data_the_samples_count_and_it_says_so() -> None:
    said = made(None, X).summary()
    assert (said["source"], said["rows"], sorted(said["attributes"])) == ("samples", 16, ["X[0]", "X[1]"])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"a": np.zeros(2)}, r"columns named \['X'\], or the 2 of X, got \['a'\]"),
        ({"X": np.zeros((2, 2)), "Y": np.zeros(3)}, r"arrays with the same number of rows, at least one, got \[2, 3\]"),
        (np.zeros((0, 2)), r"arrays with the same number of rows, at least one, got \[0\]"),
        (pl.DataFrame({"X": []}), "at least one row, got none"),
        (7, "a path of a Parquet or CSV file, a data frame, or an array for each input, got int"),
        ("rows.txt", r"a file ending in \.parquet or \.csv, got rows\.txt"),
        ("nowhere.csv", r"a Parquet or CSV file, got nowhere\.csv"),
        ({"X": np.zeros((2, 2), complex)}, "expected numbers, text or booleans, got complex128"),
    ],
)
def test_data_that_does_not_fit_is_named(data: Any, words: str) -> None:
    with pytest.raises(InvalidRequestError, match=rf"^training_data(\.X\[0\])?: .*{words}"):
        made(data, X)


def test_an_array_without_a_name_needs_a_single_input() -> None:
    with pytest.raises(InvalidRequestError, match=r"an array for each of \['age', 'town'\], got one without a name"):
        made(np.zeros((2, 2)), COLUMNS)
