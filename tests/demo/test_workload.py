import numpy as np
import pytest

from serving.demo.cases import Case, month_cases, next_cases, sample_entities
from serving.demo.evaluate import month_recall, next_event_recall, popularity
from serving.demo.reference import given, recommend
from serving.demo.train import train
from serving.demo.workload import CUSTOMERS, DAYS, PRODUCTS, PURCHASES, generate


def test_the_same_seed_gives_the_same_stream() -> None:
    one, two = (generate(5, customers=50, products=80, purchases=1000) for _ in range(2))
    assert np.array_equal(one.entities, two.entities)
    assert np.array_equal(one.items, two.items)
    assert np.array_equal(one.ts, two.ts)


def test_another_seed_gives_another_stream() -> None:
    one, two = (generate(seed, customers=50, products=80, purchases=1000) for seed in (5, 6))
    assert not np.array_equal(one.items[:100], two.items[:100])


def test_it_has_the_size_and_the_skew_of_a_shop() -> None:
    purchases = generate(0)
    assert len(purchases) == pytest.approx(PURCHASES, rel=0.1)
    assert (len(purchases.entity_ids), len(purchases.item_ids)) == (CUSTOMERS, PRODUCTS)
    first, last = purchases.period
    assert DAYS - 20 < (last - first).days <= DAYS
    sold = np.sort(np.bincount(purchases.items))[::-1]
    assert sold[: PRODUCTS // 10].sum() > 0.25 * sold.sum()
    assert 0.05 < len(purchases.held_out) / len(purchases) < 0.2


@pytest.mark.parametrize("seed", [0, 1])
def test_co_occurrence_beats_popularity(seed: int) -> None:
    purchases = generate(seed)
    trained = train(purchases.training)
    month = month_cases(purchases, trained.items)
    events = sample_entities(next_cases(purchases, trained.items), seed=0)

    def answers(cases: list[Case]) -> list[list[str]]:
        rows, _ = recommend(trained.neighbours, given(purchases, trained.items, cases, trained.history), trained.k)
        return [[trained.items[row] for row in line] for line in rows.tolist()]

    assert month_recall(month, answers(month)) > 2 * month_recall(month, popularity(month, trained.popular))
    assert next_event_recall(events, answers(events)) > 2 * next_event_recall(
        events, popularity(events, trained.popular)
    )


def test_tastes_are_why_without_them_popularity_is_hard_to_beat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.demo.workload._TO_TASTE", 0.0)
    monkeypatch.setattr("serving.demo.workload._AGAIN", 0.0)
    purchases = generate(0)
    trained = train(purchases.training)
    cases = month_cases(purchases, trained.items)
    rows, _ = recommend(trained.neighbours, given(purchases, trained.items, cases, trained.history), trained.k)
    found = [[trained.items[row] for row in line] for line in rows.tolist()]
    assert month_recall(cases, found) < 1.2 * month_recall(cases, popularity(cases, trained.popular))
