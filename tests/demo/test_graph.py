from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.bundles.bundle import WEIGHTS, open_bundle
from serving.bundles.session import runtime_limits
from serving.demo.cases import Case
from serving.demo.reference import histories, recommend
from serving.demo.train import Trained, train
from serving.demo.workload import generate
from serving.recipes.recipe import LastN
from tests.demo.sessions import build, run
from tests.demo.streams import stream

HISTORY = 6


@st.composite
def models(draw: st.DrawFn) -> Trained:
    bought = draw(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 14)), min_size=1, max_size=80))
    return train(
        stream([(str(entity), f"{item:02}", 0.0) for entity, item in bought]),
        damping=draw(st.sampled_from([0.0, 2.0])),
        neighbours=draw(st.integers(1, 15)),
        history=HISTORY,
        k=draw(st.integers(1, 8)),
    )


@settings(max_examples=40, deadline=None)
@given(models(), st.data())
def test_the_graph_answers_as_numpy_does_to_the_bit(trained: Trained, data: st.DataObject) -> None:
    row = st.integers(-1, len(trained.items) - 1)
    lines = data.draw(st.lists(st.lists(row, min_size=HISTORY, max_size=HISTORY), min_size=1, max_size=5))
    given_histories = np.array(lines, np.int64)
    items, scores = run(trained, given_histories)
    expected_items, expected_scores = recommend(trained.neighbours, given_histories, trained.k)
    assert np.array_equal(items, expected_items)
    assert np.array_equal(scores, expected_scores)


def test_an_answer_does_not_depend_on_the_batch() -> None:
    trained = train(generate(1, customers=100, products=200, purchases=3000))
    rows = np.random.default_rng(0).integers(-1, len(trained.items), (70, trained.history))
    for alone, together in zip(run(trained, rows, batch=1), run(trained, rows), strict=True):
        assert np.array_equal(alone, together)


def test_no_history_recommends_the_popular_with_score_zero() -> None:
    trained = train(generate(1, customers=100, products=200, purchases=3000))
    items, scores = run(trained, np.full((1, trained.history), -1, np.int64))
    assert [trained.items[int(row)] for row in items[0]] == trained.popular[: trained.k]
    assert not scores.any()


def test_what_was_found_comes_before_what_fills_up() -> None:
    trained = train(stream([("1", "p", 0.0), ("2", "p", 0.0), ("3", "x", 0.0), ("3", "y", 0.0), ("4", "q", 0.0)]))
    items, scores = run(trained, np.array([[-1] * 49 + [trained.items.index("x")]], np.int64))
    assert [trained.items[int(row)] for row in items[0]] == ["x", "y", "p", "q"]
    assert scores[0].tolist() == [1.0, 1.0, 0.0, 0.0]


def test_the_history_of_the_reference_is_the_last_known_purchases_before_the_row() -> None:
    purchases = stream([("a", "x", 0), ("b", "x", 1), ("a", "new", 2), ("a", "y", 3), ("a", "x", 4), ("a", "y", 5)])
    cases = [Case("a", row, frozenset({"x"})) for row in (1, 4, 6)]
    expected = [[-1, -1, 0], [-1, 0, 1], [1, 0, 1]]
    assert histories(purchases, ["x", "y"], cases, 3).tolist() == expected


def test_the_bundle_is_a_recommender_with_external_weights(tmp_path: Path) -> None:
    trained = train(generate(1, customers=100, products=200, purchases=3000))
    build(trained, tmp_path)
    manifest = open_bundle(tmp_path).manifest
    assert manifest.recipe == {"history": LastN(n=trained.history)}
    assert [tensor.shape for tensor in manifest.outputs] == [(-1, trained.k)] * 2
    assert (tmp_path / WEIGHTS).stat().st_size > len(trained.items) * 20 * 8


def test_the_graph_is_within_the_runtimes_limits() -> None:
    graph = train(stream([("1", "x", 0.0)])).graph
    opset, ir_version = runtime_limits()
    assert graph.opset_import[0].version <= opset
    assert graph.ir_version <= ir_version
