"""From a model that MLflow keeps to gRPC, by each of the ways in which it is named."""

from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import pytest
import xgboost
from mlflow import sklearn as flavour_of_sklearn
from mlflow import xgboost as flavour_of_xgboost

from tests.end_to_end.sources.data import THIRD, X
from tests.end_to_end.sources.estimators import ESTIMATORS, classes
from tests.end_to_end.sources.served import Served, assert_says

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow warns of much that is ours to choose


@pytest.fixture
def tracking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A store of MLflow's in a folder, for this process and for programs that it starts."""
    where = (tmp_path / "runs").as_uri()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", where)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "true")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(where)
    yield
    mlflow.set_tracking_uri(before)


@pytest.mark.usefixtures("tracking")
def test_a_node_answers_as_the_estimator_that_was_logged(served: Served, tmp_path: Path) -> None:
    estimator, says = ESTIMATORS["classifier"]()
    with mlflow.start_run() as run:
        flavour_of_sklearn.log_model(
            estimator, name="model", registered_model_name="shop", serialization_format="cloudpickle"
        )
    np.save(tmp_path / "rows.npy", X)

    served.publish_by_program("registered", "models:/shop/1", "--sample", tmp_path / "rows.npy")
    served.publish("logged", f"runs:/{run.info.run_id}/model", samples=X)

    for name in ("registered", "logged"):
        assert_says(served.ask(name, {"X": X.astype(np.float32)}), says)


@pytest.mark.usefixtures("tracking")
def test_a_node_answers_as_the_booster_in_a_folder(served: Served, tmp_path: Path) -> None:
    model = xgboost.XGBClassifier(n_estimators=5).fit(X, THIRD)
    flavour_of_xgboost.save_model(model, tmp_path / "model")
    served.publish_by_program("folder", tmp_path / "model")
    assert_says(served.ask("folder", {"X": X.astype(np.float32)}), classes(model))
