"""The quality on real data: the figures of shared/data/README.md."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from serving.demo.cases import Case, month_cases, next_cases, products_before, sample_entities
from serving.demo.evaluate import month_recall, next_event_recall, popularity
from serving.demo.purchases import Purchases
from serving.demo.readers.load import load
from serving.demo.reference import given, recommend
from serving.demo.train import Trained, train
from tests.demo.sessions import run

DATA = Path(__file__).parents[3] / "shared" / "data" / "online_retail.parquet"
WITHIN = 0.005
NOW_MS = 1_800_000_000_000

pytestmark = pytest.mark.skipif(not DATA.is_file(), reason=f"{DATA} is not there")


@pytest.fixture(scope="module")
def purchases() -> Purchases:
    return load(DATA, 0)


@pytest.fixture(scope="module")
def trained(purchases: Purchases) -> Trained:
    return train(purchases.training)


@pytest.fixture(scope="module")
def month(purchases: Purchases, trained: Trained) -> list[Case]:
    return month_cases(purchases, trained.items)


@pytest.fixture(scope="module")
def events(purchases: Purchases, trained: Trained) -> list[Case]:
    return next_cases(purchases, trained.items)


def named(trained: Trained, rows: NDArray[np.generic]) -> list[list[str]]:
    ids: list[list[str]] = np.array(trained.items)[rows].tolist()
    return ids


def graph_answers(trained: Trained, purchases: Purchases, cases: list[Case]) -> list[list[str]]:
    items, _ = run(trained, given(purchases, trained.items, cases, trained.history))
    return named(trained, items)


def test_the_month_is_split_as_the_reference_was(purchases: Purchases, month: list[Case], events: list[Case]) -> None:
    assert np.datetime64(purchases.cutoff, "ms") == np.datetime64("2011-11-09")
    assert (len(month), len(events)) == (1395, 65_542)


def test_popularity_has_the_reference_figures(trained: Trained, month: list[Case], events: list[Case]) -> None:
    assert month_recall(month, popularity(month, trained.popular)) == pytest.approx(0.094, abs=WITHIN)
    assert next_event_recall(events, popularity(events, trained.popular)) == pytest.approx(0.045, abs=WITHIN)


def test_the_graph_has_the_reference_figure_of_the_month(
    trained: Trained, purchases: Purchases, month: list[Case]
) -> None:
    assert month_recall(month, graph_answers(trained, purchases, month)) == pytest.approx(0.295, abs=0.002)


def test_the_graph_has_the_reference_figure_of_the_next_event(
    trained: Trained, purchases: Purchases, events: list[Case]
) -> None:
    recall = next_event_recall(events, graph_answers(trained, purchases, events))
    assert recall == pytest.approx(0.145, abs=0.002)


def test_with_all_neighbours_and_nothing_fresh_both_are_the_reference_figures(
    purchases: Purchases, month: list[Case], events: list[Case]
) -> None:
    whole = train(purchases.training, neighbours=10_000)
    sample = sample_entities(events, seed=0, at_least=6000)

    def answers(cases: list[Case]) -> list[list[str]]:
        asked = given(purchases, whole.items, cases, whole.history)
        asked = replace(asked, purchases_30d=np.zeros_like(asked.purchases_30d))
        return named(whole, recommend(whole.neighbours, asked, whole.k)[0])

    assert month_recall(month, answers(month)) == pytest.approx(0.291, abs=WITHIN)
    assert next_event_recall(sample, answers(sample)) == pytest.approx(0.136, abs=0.01)


def test_the_product_before_it_in_its_order_says_much_of_the_next(
    purchases: Purchases, trained: Trained, events: list[Case]
) -> None:
    found = products_before(purchases, sample_entities(events, seed=0, at_least=6000), trained.items)
    cases, viewing = [case for case, _ in found], [item for _, item in found]
    asked = given(purchases, trained.items, cases, trained.history, now_ms=NOW_MS, viewing=viewing)
    items, _ = run(trained, asked)
    assert next_event_recall(cases, named(trained, items)) == pytest.approx(0.301, abs=0.005)


def test_fewer_neighbours_with_damping_are_a_better_second_version(
    purchases: Purchases, trained: Trained, month: list[Case], events: list[Case]
) -> None:
    second = train(purchases.training, neighbours=10, damping=2.0)
    answers = graph_answers(second, purchases, month)
    assert answers != graph_answers(trained, purchases, month)
    assert month_recall(month, answers) == pytest.approx(0.310, abs=0.002)
    assert next_event_recall(events, graph_answers(second, purchases, events)) == pytest.approx(0.149, abs=0.002)
