"""Conversions that answer differently, files that hold no estimator, and rows that do not fit."""

import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import BaseEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from publisher.sources.agreement import check_equal
from publisher.sources.choose import load_source
from serving.errors import InvalidRequestError, UserError
from tests.publisher.conftest import Fitted


def test_a_model_that_32_bits_are_too_few_for_is_refused_with_the_largest_difference() -> None:
    stamps = 1.7e9 + np.arange(300.0).reshape(-1, 1)  # seconds; 32 bits know every 128th
    estimator = make_pipeline(StandardScaler(), LinearRegression()).fit(stamps, np.arange(300.0))
    with pytest.raises(UserError) as said:
        load_source(estimator, {"X": stamps})
    message = str(said.value)
    assert message.startswith("MODEL: the converted model answers differently: predict, row ")
    largest = float(message.partition("largest difference ")[2].partition(",")[0])
    assert 32 < largest < 300, message
    assert message.endswith(" of 300 rows")


def test_the_same_model_on_rows_that_32_bits_hold_is_taken() -> None:
    rows = np.arange(300.0).reshape(-1, 1)
    estimator = make_pipeline(StandardScaler(), LinearRegression()).fit(rows, np.arange(300.0))
    assert load_source(estimator, rows).samples["X"].shape == (64, 1)


def test_probabilities_are_compared_too(data: Fitted, monkeypatch: pytest.MonkeyPatch) -> None:
    estimator = LogisticRegression().fit(data.x, data.y)
    honest = estimator.predict_proba(data.x)
    monkeypatch.setattr(estimator, "predict_proba", lambda _rows: honest + np.eye(200, 2) * 0.01)
    with pytest.raises(UserError, match=r"predict_proba, row [01]: .*largest difference 0\.01.*in 2 of 200 rows"):
        load_source(estimator, {"X": data.x})


@given(st.lists(st.floats(-1e30, 1e30), min_size=1, max_size=20), st.data())
def test_equal_answers_pass_and_the_one_that_differs_most_is_named(numbers: list[float], draw: st.DataObject) -> None:
    expected = np.array(numbers)
    check_equal("predict", expected, expected.astype(np.float32))
    at = draw.draw(st.integers(0, len(numbers) - 1))
    actual = expected.copy()
    actual[at] += 1 + np.abs(expected).max()
    with pytest.raises(UserError, match=f"predict, row {at}: .* in 1 of {len(numbers)} rows"):
        check_equal("predict", expected, actual)


def test_nan_equals_nan_and_nothing_else() -> None:
    nan, one = np.array([np.nan]), np.array([1.0])
    check_equal("predict", nan, nan)
    for expected, actual in ((nan, one), (one, nan)):
        with pytest.raises(UserError, match="largest difference inf"):
            check_equal("predict", expected, actual)


def test_another_shape_is_a_difference() -> None:
    with pytest.raises(UserError, match=r"expected the shape \(2, 1\), the converted model gave \(2, 2\)"):
        check_equal("predict", np.zeros(2), np.zeros((2, 2)))


class Raises:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return divmod, (1, 0)


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", b"\x80\x04\x95\x01garbage", pickle.dumps(Raises()), pickle.dumps(LogisticRegression())[:-20]],
    ids=["empty", "text", "garbage", "raises", "cut off"],
)
def test_a_broken_file_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.joblib"
    path.write_bytes(content)
    with pytest.raises(
        InvalidRequestError, match=r"^MODEL: expected an ONNX file or a joblib file, got .+: .+"
    ) as said:
        load_source(path)
    assert "\n" not in str(said.value)


def test_a_class_that_is_not_there_any_more_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "their_module.py").write_text("class Ranker:\n    def predict(self): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    joblib.dump(__import__("their_module").Ranker(), tmp_path / "model.joblib")
    (tmp_path / "their_module.py").unlink()
    monkeypatch.delitem(sys.modules, "their_module")
    with pytest.raises(InvalidRequestError, match="their_module"):
        load_source(tmp_path / "model.joblib")


def test_a_file_of_something_else_and_a_missing_one_are_refused(tmp_path: Path) -> None:
    joblib.dump({"weights": 1}, tmp_path / "dict.joblib")
    with pytest.raises(InvalidRequestError, match=r"^MODEL: expected a fitted scikit-learn estimator, got dict$"):
        load_source(tmp_path / "dict.joblib")
    for gone in (tmp_path / "none.joblib", tmp_path):
        with pytest.raises(InvalidRequestError, match=r"^MODEL: expected a file"):
            load_source(gone)


class Guess(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """An estimator of somebody's own, which skl2onnx has never heard of."""

    n_features_in_ = 3

    def predict(self, rows: Any) -> Any:
        return rows[:, 0]


def test_an_estimator_of_ones_own_is_refused_by_name() -> None:
    with pytest.raises(UserError, match=r"^MODEL: .*Guess"):
        load_source(Guess())


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.zeros((4, 2)), r"samples: expected rows of 3 columns, got an array of shape \(4, 2\)"),
        (np.full((4, 3), np.nan), "samples: the estimator itself cannot predict for them: Input X contains NaN"),
        (np.zeros(3), r"samples: expected rows of 3 columns, got an array of shape \(3,\)"),
        (np.zeros((0, 3)), r"samples\['X'\]: expected rows, at least one, got an array of shape \(0, 3\)"),
        (np.zeros((4, 3), complex), "samples: expected numbers, got complex128 in input X"),
    ],
)
def test_rows_that_do_not_fit_are_refused(data: Fitted, rows: Any, message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}"):
        load_source(LogisticRegression().fit(data.x, data.y), {"X": rows})
