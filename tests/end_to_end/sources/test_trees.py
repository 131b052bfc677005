"""From a fitted model to gRPC: a node answers what the framework itself predicts."""

from pathlib import Path

import joblib
import numpy as np
import pytest

from publisher.api import publish
from tests.end_to_end.sources.data import MIXED, X
from tests.end_to_end.sources.estimators import classes
from tests.end_to_end.sources.served import Says, Served, assert_says
from tests.end_to_end.sources.trees import MODELS, columns_before_xgboost

pytestmark = pytest.mark.filterwarnings("ignore:X does not have valid feature names")


@pytest.fixture(scope="module")
def says(served: Served) -> dict[str, Says]:
    """What each says itself; all of them are published at once, and then waited for."""
    said = {}
    for kind, fit in MODELS.items():
        model, said[kind] = fit()
        publish(kind, model, samples=X, settings=served.installation.settings())
    for kind in MODELS:
        served.installation.wait_for_state(kind, 1, {"READY"}, served.node.workers)
    return said


@pytest.mark.timeout(600)  # the first one publishes all
@pytest.mark.parametrize("kind", MODELS)
def test_a_node_answers_as_the_library_itself(kind: str, served: Served, says: dict[str, Says]) -> None:
    name, dtype = ("features" if kind.startswith("cat") else "X"), np.float64 if "pipeline" in kind else np.float32
    assert_says(served.ask(kind, {name: X.astype(dtype)}), says[kind])


def test_a_pipeline_of_columns_and_a_booster_is_published_with_a_table(served: Served, tmp_path: Path) -> None:
    pipeline = columns_before_xgboost()
    joblib.dump(pipeline, tmp_path / "model.joblib")
    MIXED.to_csv(tmp_path / "rows.csv", index=False)
    served.publish_by_program("xgb-columns", tmp_path / "model.joblib", "--sample", tmp_path / "rows.csv")

    inputs = {name: MIXED[[name]].to_numpy() for name in MIXED.columns}
    answers = served.ask("xgb-columns", {**inputs, "country": inputs["country"].astype(str)})

    assert_says(answers, classes(pipeline, MIXED))
