"""From a fitted model to gRPC: a node answers what the framework itself predicts."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np
import pytest

from publisher.api import publish
from tests.end_to_end.inferring import infer
from tests.end_to_end.installation import Installation, Node
from tests.end_to_end.sources.data import MIXED, X
from tests.end_to_end.sources.trees import MODELS, Says, classified, columns_before_xgboost

pytestmark = [
    pytest.mark.filterwarnings("ignore:X does not have valid feature names"),
    pytest.mark.xdist_group("trees"),
]


@dataclass(frozen=True)
class Stage:
    installation: Installation
    node: Node
    says: dict[str, Says]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """All of them on one node."""
    installation = Installation(tmp_path_factory.mktemp("trees"))
    says = {}
    for kind, fit in MODELS.items():
        model, says[kind] = fit()
        publish(kind, model, samples=X, settings=installation.settings())
    with Node(installation) as node:
        yield Stage(installation, node, says)


@pytest.mark.timeout(600)  # the first one publishes all
@pytest.mark.parametrize("kind", MODELS)
def test_a_node_answers_as_the_library_itself(kind: str, stage: Stage) -> None:
    name, dtype = ("features" if kind.startswith("cat") else "X"), np.float64 if "pipeline" in kind else np.float32
    answers = infer(stage.node.address, kind, {name: X.astype(dtype)})

    for output, expected in stage.says[kind].items():
        actual = answers[output].reshape(expected.shape)
        if expected.dtype.kind == "f":
            np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)
        else:
            assert actual.tolist() == expected.tolist()


def test_a_pipeline_of_columns_and_a_booster_is_published_with_a_table(stage: Stage, tmp_path: Path) -> None:
    pipeline = columns_before_xgboost()
    joblib.dump(pipeline, tmp_path / "model.joblib")
    MIXED.to_csv(tmp_path / "rows.csv", index=False)
    said = stage.installation.ask(
        "publish", "columns", str(tmp_path / "model.joblib"), "--sample", str(tmp_path / "rows.csv"), "--wait"
    )
    assert {i["state"] for i in said["instances"]} == {"READY"}

    inputs = {name: MIXED[[name]].to_numpy() for name in MIXED.columns}
    answers = infer(stage.node.address, "columns", {**inputs, "country": inputs["country"].astype(str)})

    expected = classified(pipeline, MIXED)
    assert answers["label"].tolist() == expected["label"].tolist()
    np.testing.assert_allclose(answers["probabilities"], expected["probabilities"], rtol=1e-4, atol=1e-5)
