"""scikit-learn estimators become graphs that answer the same, or are refused with the reason."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import polars as pl
import pytest
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LinearRegression, LogisticRegression, Perceptron, Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from publisher.build import build_bundle
from publisher.sources.choose import load_source
from publisher.sources.source import DRAWN_ROWS, MOST_ROWS, Source
from serving.bundles.session import ModelSession
from serving.bundles.trial import try_bundle
from serving.errors import InvalidRequestError, UserError
from tests.publisher.conftest import Fitted

ESTIMATORS: dict[str, Callable[[Fitted], Any]] = {
    "logistic regression": lambda d: LogisticRegression().fit(d.x, d.y),
    "logistic regression of words": lambda d: LogisticRegression().fit(d.x, d.words),
    "random forest": lambda d: RandomForestClassifier(5, random_state=0).fit(d.x, d.y),
    "gradient boosting": lambda d: GradientBoostingClassifier(n_estimators=5, random_state=0).fit(d.x, d.y),
    "scaled": lambda d: make_pipeline(StandardScaler(), LogisticRegression()).fit(d.x, d.y),
    "perceptron": lambda d: Perceptron(random_state=0).fit(d.x, d.y),
    "clusters": lambda d: KMeans(3, n_init=1, random_state=0).fit(d.x),
    "linear regression": lambda d: LinearRegression().fit(d.x, d.z),
    "two targets": lambda d: Ridge().fit(d.x, np.c_[d.z, -d.z]),
    "forest regressor": lambda d: RandomForestRegressor(5, random_state=0).fit(d.x, d.z),
    "boosting regressor": lambda d: GradientBoostingRegressor(n_estimators=5, random_state=0).fit(d.x, d.z),
    "columns by number": lambda d: make_pipeline(
        ColumnTransformer([("scale", StandardScaler(), [0, 1])], remainder="passthrough"), LogisticRegression()
    ).fit(d.x, d.y),
}


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_a_converted_estimator_answers_as_the_original(kind: str, data: Fitted, tmp_path: Path) -> None:
    estimator = ESTIMATORS[kind](data)
    joblib.dump(estimator, tmp_path / "model.joblib")
    source = load_source(tmp_path / "model.joblib", {"X": data.x})

    assert source.samples["X"].shape == (MOST_ROWS, 3)
    expected = estimator.predict(data.x)
    actual = _answers(source, tmp_path, {"X": data.x.astype(np.float32)})
    if expected.dtype.kind == "f":
        np.testing.assert_allclose(actual.reshape(expected.shape), expected, rtol=1e-4, atol=1e-5)
    else:
        assert actual.tolist() == expected.tolist()


def test_rows_are_drawn_when_none_are_given_the_same_every_time(data: Fitted) -> None:
    estimator = LogisticRegression().fit(data.x, data.y)
    one, other = load_source(estimator), load_source(estimator)
    assert one.samples["X"].shape == (DRAWN_ROWS, 3)
    assert one.samples["X"].tolist() == other.samples["X"].tolist()
    assert one.graph.SerializeToString(deterministic=True) == other.graph.SerializeToString(deterministic=True)


def test_a_pipeline_over_named_columns_takes_each_as_an_input_of_its_own(data: Fitted, tmp_path: Path) -> None:
    frame, pipeline = _named(data)
    columns = {name: frame[name].to_numpy()[:20] for name in ("country", "spend", "age")}
    source = load_source(pipeline, columns)

    shapes = {name: (array.dtype.kind, array.shape) for name, array in source.samples.items()}
    assert shapes == {"age": ("f", (20, 1)), "spend": ("f", (20, 1)), "country": ("U", (20, 1))}
    build_bundle(source, tmp_path)
    try_bundle(tmp_path, 60, 8 << 30)
    inputs = {n: a.astype(object) if a.dtype.kind == "U" else a for n, a in source.samples.items()}
    answers = ModelSession.open(tmp_path).run(inputs, None)[0]
    assert answers.tolist() == pipeline.predict(frame[:20]).tolist()


def test_a_pipeline_over_named_columns_needs_samples_of_these_columns(data: Fitted) -> None:
    frame, pipeline = _named(data)
    with pytest.raises(UserError, match=r"takes the columns age, spend, country by name; give sample rows"):
        load_source(pipeline)
    some = {"age": frame["age"].to_numpy()}
    with pytest.raises(InvalidRequestError, match=r"expected an array for each of the columns .*, got \['age'\]$"):
        load_source(pipeline, some)


def test_without_a_library_of_frames_named_columns_are_refused(data: Fitted, monkeypatch: pytest.MonkeyPatch) -> None:
    frame, pipeline = _named(data)
    for library in ("pandas", "polars"):
        monkeypatch.setitem(__import__("sys").modules, library, None)  # as if it were not installed
    with pytest.raises(UserError, match=r"needs pandas or polars; pip install pandas$"):
        load_source(pipeline, {name: frame[name].to_numpy()[:9] for name in frame.columns})


def test_an_estimator_fitted_on_a_frame_of_numbers_takes_one_matrix(data: Fitted) -> None:
    estimator = LogisticRegression().fit(pl.DataFrame(data.x, schema=["a", "b", "c"]), data.y)
    assert set(load_source(estimator).samples) == {"X"}


def test_what_skl2onnx_cannot_convert_is_refused_with_a_way_out(data: Fitted) -> None:
    estimator = HistGradientBoostingClassifier(max_iter=3).fit(data.x, data.y)
    with pytest.raises(UserError, match=r"^MODEL: .*HistGradientBoostingClassifier") as said:
        load_source(estimator)
    assert "export ONNX yourself" in str(said.value)
    assert "\n" not in str(said.value)


@pytest.mark.parametrize("estimator", [LogisticRegression(), make_pipeline(StandardScaler(), LogisticRegression())])
def test_an_estimator_that_was_not_fitted_is_refused(estimator: Any) -> None:
    name = type(estimator).__name__
    with pytest.raises(UserError, match=f"^MODEL: expected a fitted estimator, got {name} that was not fitted$"):
        load_source(estimator)


def test_a_class_in_place_of_an_estimator_is_refused() -> None:
    with pytest.raises(UserError, match=r"got the class LogisticRegression that was not fitted$"):
        load_source(LogisticRegression)


def _named(data: Fitted) -> tuple[pl.DataFrame, Pipeline]:
    rng = np.random.default_rng(1)
    frame = pl.DataFrame(
        {"age": data.x[:, 0], "spend": data.x[:, 1], "country": rng.choice(["de", "fr", "uk"], len(data.x))}
    )
    chosen = ColumnTransformer(
        [
            ("numbers", StandardScaler(), ["age", "spend"]),
            ("words", OneHotEncoder(handle_unknown="ignore"), ["country"]),
        ]
    )
    return frame, make_pipeline(chosen, LogisticRegression()).fit(frame, data.y)


def _answers(source: Source, folder: Path, inputs: dict[str, Any]) -> Any:
    bundle = folder / "bundle"
    bundle.mkdir()
    build_bundle(source, bundle)
    return ModelSession.open(bundle).run(inputs, None)[0]
