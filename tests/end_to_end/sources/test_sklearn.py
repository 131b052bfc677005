"""From a fitted estimator of scikit-learn to gRPC: a node answers what the estimator itself predicts."""

from pathlib import Path

import joblib
import numpy as np
import pytest

from tests.end_to_end.sources.data import MIXED, X
from tests.end_to_end.sources.estimators import ESTIMATORS, classes, columns
from tests.end_to_end.sources.served import Served, assert_says

COLUMNS = {name: MIXED[[name]].to_numpy() for name in MIXED.columns}
INPUTS = {
    name: values.astype(str) if values.dtype.kind == "O" else values.astype(np.float32)
    for name, values in COLUMNS.items()
}


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_a_node_answers_as_the_estimator_itself(kind: str, served: Served) -> None:
    estimator, says = ESTIMATORS[kind]()
    served.publish(kind, estimator, samples=X)
    assert_says(served.ask(kind, {"X": X.astype(np.float32)}), says)


def test_an_estimators_file_is_published_with_rows_of_a_file(served: Served, tmp_path: Path) -> None:
    estimator, says = ESTIMATORS["classifier"]()
    joblib.dump(estimator, tmp_path / "model.joblib")
    np.save(tmp_path / "rows.npy", X)
    served.publish_by_program("file", tmp_path / "model.joblib", "--sample", tmp_path / "rows.npy")
    assert_says(served.ask("file", {"X": X.astype(np.float32)}), says)


def test_a_pipeline_over_columns_of_numbers_and_words_takes_each_as_an_input(served: Served) -> None:
    pipeline = columns()
    served.publish("columns", pipeline, samples=COLUMNS)
    assert_says(served.ask("columns", INPUTS), classes(pipeline, MIXED))


def test_a_pipeline_over_columns_is_published_with_a_table(served: Served, tmp_path: Path) -> None:
    pipeline = columns()
    joblib.dump(pipeline, tmp_path / "model.joblib")
    MIXED.to_csv(tmp_path / "rows.csv", index=False)
    served.publish_by_program("table", tmp_path / "model.joblib", "--sample", tmp_path / "rows.csv")
    assert_says(served.ask("table", INPUTS), classes(pipeline, MIXED))
