"""From what was fitted by other means to gRPC, by a function that builds its graph."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper, parser
from sklearn.decomposition import TruncatedSVD

from serving.recipes.event import encode_event
from tests.end_to_end.client import recommend
from tests.end_to_end.sources.data import NUMBER, X
from tests.end_to_end.sources.served import Served
from tests.end_to_end.waiting import wait_until

MODULE = """
import numpy as np
from onnx import numpy_helper, parser

def build():
    model = parser.parse_model('''
        <ir_version: 10, opset_import: ["": 18]>
        linear (float[batch, 3] x) => (float[batch] y) {
            y = MatMul (x, weights)
        }''')
    weights = np.load("weights.npy")
    model.graph.initializer.append(numpy_helper.from_array(weights.astype(np.float32), "weights"))
    return model
"""
ITEMS = [f"item-{row}" for row in range(20)]
HISTORY, K = 4, 5


def test_a_node_answers_as_what_was_fitted(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights, *_ = np.linalg.lstsq(X, NUMBER, rcond=None)
    np.save(tmp_path / "weights.npy", weights)
    (tmp_path / "graphs.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    served.publish_by_program("linear", "graphs:build")
    answers = served.ask("linear", {"x": X.astype(np.float32)})
    np.testing.assert_allclose(answers["y"], X @ weights, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def bought() -> NDArray[np.float64]:
    """Whether a customer bought an item, [customers, items]."""
    return (np.random.default_rng(0).random((100, len(ITEMS))) < 0.3).astype(np.float64)


@pytest.fixture(scope="module")
def factors(bought: NDArray[np.float64]) -> TruncatedSVD:
    return TruncatedSVD(6, random_state=0).fit(bought)


def graph_of(factors: TruncatedSVD) -> onnx.ModelProto:
    """What somebody who has bought these items will like: their row, folded into the factors and out again.

    Its outputs are called as an exporter calls them.
    """
    model = parser.parse_model(f"""
        <ir_version: 10, opset_import: ["": 18]>
        liked (int64[batch, {HISTORY}] history) => (float[batch, {K}] output_0, int64[batch, {K}] output_1) {{
            by_item = Gather (between, history)
            all = ReduceSum <keepdims = 0> (by_item, axis)
            output_0, output_1 = TopK (all, k)
        }}""")
    between = np.zeros((len(ITEMS) + 1, len(ITEMS)), np.float32)  # the last row is for -1, which pads short histories
    between[:-1] = factors.components_.T @ factors.components_
    weights = {"between": between, "axis": np.array([1]), "k": np.array([K])}
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in weights.items())
    return model


def test_a_recommender_of_a_fitted_factorisation_recommends_what_that_says(
    served: Served, factors: TruncatedSVD, bought: NDArray[np.float64]
) -> None:
    served.publish("liked", lambda: graph_of(factors), items=ITEMS)
    said = bought[:8] * (np.cumsum(bought[:8], axis=1) <= HISTORY)  # no more than the model looks at
    bus = served.installation.bus()
    topic = served.installation.settings().topics.events.name
    for customer, row in enumerate(said):
        for item in np.flatnonzero(row):
            key, value = encode_event(f"customer-{customer}", {"item": ITEMS[item]}, kind="purchase")
            bus.append(topic, key, value)
    bus.close()

    liked = factors.inverse_transform(factors.transform(said))
    for customer, row in enumerate(liked):
        best = np.argsort(-row, kind="stable")[:K]

        def answered(
            entity: str = f"customer-{customer}",
            best: NDArray[np.int64] = best,
            scores: NDArray[np.float64] = row[best],
        ) -> bool:
            answer = recommend(served.node.address, "liked", entity)
            same = list(answer.item_ids) == [ITEMS[item] for item in best]
            return same and np.allclose(answer.scores, scores, rtol=1e-4, atol=1e-5)  # not so before the last event

        wait_until(answered, f"what customer {customer} likes")
