"""MLflow's models, by URI and by folder, become what their own framework makes of them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import onnx
import pytest
import xgboost
from mlflow import sklearn as flavour_of_sklearn
from mlflow import xgboost as flavour_of_xgboost
from mlflow.models import Model
from sklearn.linear_model import LogisticRegression

from publisher.sources.choose import load_source
from serving.errors import InvalidRequestError
from tests.builders.graphs import doubler
from tests.publisher.conftest import Fitted

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow warns of much that is ours to choose


@pytest.fixture
def tracking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "true")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri((tmp_path / "runs").as_uri())
    yield tmp_path
    mlflow.set_tracking_uri(before)


@pytest.mark.usefixtures("tracking")
def test_a_logged_model_is_found_by_each_of_its_names(data: Fitted) -> None:
    estimator = LogisticRegression().fit(data.x, data.y)
    with mlflow.start_run() as run:
        logged = flavour_of_sklearn.log_model(
            estimator, name="model", registered_model_name="shop", serialization_format="cloudpickle"
        )
    direct = load_source(estimator, data.x)
    for uri in ("models:/shop/1", f"runs:/{run.info.run_id}/model", logged.model_uri):
        source = load_source(uri, data.x)
        assert source.framework == "scikit-learn"
        assert source.graph == direct.graph


def test_a_folder_of_a_wrapper_gives_the_wrapper(tracking: Path, data: Fitted) -> None:
    model = xgboost.XGBClassifier(n_estimators=3).fit(data.x, data.y)
    flavour_of_xgboost.save_model(model, tracking / "model")
    source = load_source(tracking / "model", data.x)
    assert source.framework.startswith("xgboost")
    assert source.graph == load_source(model, data.x).graph


def test_an_onnx_flavour_is_the_graph_in_it(tracking: Path) -> None:
    folder = tracking / "model"
    folder.mkdir()
    onnx.save(doubler(), folder / "model.onnx")
    described = Model()
    described.add_flavor("onnx", data="model.onnx")
    described.save(str(folder / "MLmodel"))
    assert load_source(folder).graph == doubler()


@pytest.mark.usefixtures("tracking")
@pytest.mark.parametrize("uri", ["models:/nope/1", "runs:/nope/model"])
def test_what_is_not_there_is_refused_in_one_line(uri: str) -> None:
    with pytest.raises(InvalidRequestError, match=f"^MODEL: expected a model of MLflow, got {uri}: .+") as said:
        load_source(uri)
    assert "\n" not in str(said.value)


def test_a_flavour_without_a_source_is_named(tracking: Path) -> None:
    (tracking / "model").mkdir()
    described: Any = Model()
    described.add_flavor("python_function", loader_module="x")
    described.save(str(tracking / "model" / "MLmodel"))
    with pytest.raises(InvalidRequestError, match=r"one of MLflow's flavours onnx, .* got python_function"):
        load_source(tracking / "model", np.zeros((2, 3)))
