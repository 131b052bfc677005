from pathlib import Path

import hypothesis
import numpy as np
from hypothesis import strategies as st

from serving.bundles.abilities import runtime_limits
from serving.bundles.bundle import WEIGHTS, open_bundle
from serving.demo.cases import Case
from serving.demo.purchases import DAY_MS
from serving.demo.recipe import FRESH, LOOKED_AT, make_recipe
from serving.demo.reference import Given, given, recommend
from serving.demo.train import Trained, train
from serving.demo.workload import generate
from tests.demo.sessions import build, run
from tests.demo.streams import stream

HISTORY = 6


def asked(history: list[int], fresh: int = 0, viewing: int = -1) -> Given:
    return Given(np.array([history], np.int64), np.array([fresh]), np.array([viewing]))


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


@hypothesis.settings(max_examples=40, deadline=None)
@hypothesis.given(models(), st.data())
def test_the_graph_answers_as_numpy_does_to_the_bit(trained: Trained, data: st.DataObject) -> None:
    row = st.integers(-1, len(trained.items) - 1)
    line = st.tuples(st.lists(row, min_size=HISTORY, max_size=HISTORY), st.integers(0, HISTORY + 2), row)
    lines = data.draw(st.lists(line, min_size=1, max_size=5))
    asked = Given(*(np.array(column, np.int64) for column in zip(*lines, strict=True)))
    items, scores = run(trained, asked)
    expected_items, expected_scores = recommend(trained.neighbours, asked, trained.k)
    assert np.array_equal(items, expected_items)
    assert np.array_equal(scores, expected_scores)


def test_an_answer_does_not_depend_on_the_batch() -> None:
    trained = train(generate(1, customers=100, products=200, purchases=3000))
    rng, size = np.random.default_rng(0), len(trained.items)
    asked = Given(rng.integers(-1, size, (70, trained.history)), rng.integers(0, 60, 70), rng.integers(-1, size, 70))
    for alone, together in zip(run(trained, asked, batch=1), run(trained, asked), strict=True):
        assert np.array_equal(alone, together)


def test_no_history_recommends_the_popular_with_score_zero() -> None:
    trained = train(generate(1, customers=100, products=200, purchases=3000))
    items, scores = run(trained, asked([-1] * trained.history))
    assert [trained.items[int(row)] for row in items[0]] == trained.popular[: trained.k]
    assert not scores.any()


def test_what_was_found_comes_before_what_fills_up() -> None:
    trained = train(stream([("1", "p", 0.0), ("2", "p", 0.0), ("3", "x", 0.0), ("3", "y", 0.0), ("4", "q", 0.0)]))
    items, scores = run(trained, asked([-1] * 49 + [trained.items.index("x")]))
    assert [trained.items[int(row)] for row in items[0]] == ["x", "y", "p", "q"]
    assert scores[0].tolist() == [1.0, 1.0, 0.0, 0.0]


def test_fresh_purchases_weigh_more_and_what_is_looked_at_most() -> None:
    trained = train(stream([("1", "a", 0.0), ("2", "b", 0.0), ("3", "c", 0.0)]))
    history = [-1] * 48 + [trained.items.index("a"), trained.items.index("b")]
    items, scores = run(trained, asked(history, fresh=1, viewing=trained.items.index("c")))
    assert [trained.items[int(row)] for row in items[0]] == ["c", "b", "a"]
    assert scores[0].tolist() == [LOOKED_AT, FRESH, 1.0]


def test_the_history_of_the_reference_is_the_last_known_purchases_before_the_row() -> None:
    purchases = stream([("a", "x", 0), ("b", "x", 1), ("a", "new", 2), ("a", "y", 3), ("a", "x", 4), ("a", "y", 5)])
    cases = [Case("a", row, frozenset({"x"})) for row in (1, 4, 6)]
    found = given(purchases, ["x", "y"], cases, 3)
    assert found.history.tolist() == [[-1, -1, 0], [-1, 0, 1], [1, 0, 1]]
    assert found.purchases_30d.tolist() == [1, 3, 5]
    assert found.viewing.tolist() == [-1, -1, -1]


def test_the_window_of_the_reference_ends_at_the_newest_purchase_or_now() -> None:
    purchases = stream([("a", "x", 0), ("a", "x", 29.9), ("a", "y", 30), ("a", "x", 31)])
    cases = [Case("a", row, frozenset({"x"})) for row in (2, 3, 4)]
    assert given(purchases, ["x"], cases, 3).purchases_30d.tolist() == [2, 2, 3]
    now_ms = 60 * DAY_MS
    assert given(purchases, ["x"], cases, 3, now_ms=now_ms).purchases_30d.tolist() == [0, 1, 2]
    assert given(purchases, ["x", "y"], cases, 3, viewing=["y", "z", ""]).viewing.tolist() == [1, -1, -1]


def test_the_bundle_is_a_recommender_with_external_weights(tmp_path: Path) -> None:
    trained = train(generate(1, customers=100, products=200, purchases=3000))
    build(trained, tmp_path)
    manifest = open_bundle(tmp_path).manifest
    assert manifest.recipe == make_recipe(trained.history)
    assert manifest.nearline.ttl == 86_400
    assert [tensor.shape for tensor in manifest.outputs] == [(-1, trained.k)] * 2
    assert (tmp_path / WEIGHTS).stat().st_size > len(trained.items) * 20 * 8


def test_the_graph_is_within_the_runtimes_limits() -> None:
    graph = train(stream([("1", "x", 0.0)])).graph
    limits = runtime_limits()
    assert graph.opset_import[0].version <= limits.opsets[""]
    assert graph.ir_version <= limits.ir_version
