import math

import pytest

from serving.demo.cases import Case
from serving.demo.evaluate import MonthRecall, NextEventRecall, month_recall, next_event_recall, popularity


def test_month_recall_is_hits_over_products_bought_mean_over_entities() -> None:
    recall = MonthRecall()
    recall.add(["a", "b", "c"], {"a", "c", "z", "y"})
    recall.add(["a"], {"b"})
    assert recall.value == pytest.approx((2 / 4 + 0) / 2)
    assert recall.count == 2


def test_month_recall_divides_by_k_at_most_and_looks_at_the_first_k() -> None:
    recall = MonthRecall(k=2)
    recall.add(["a", "b", "c"], ["a", "b", "c", "d"])
    assert recall.value == 1.0


def test_month_recall_counts_a_product_once() -> None:
    recall = MonthRecall()
    recall.add(["a", "a"], ["a", "a", "b"])
    assert recall.value == 0.5


def test_next_event_recall_is_the_share_of_purchases_that_were_recommended() -> None:
    recall = NextEventRecall(k=2)
    recall.add(["a", "b"], "b")
    recall.add(["a", "b", "c"], "c")
    recall.add([], "a")
    assert (recall.value, recall.hits, recall.count) == (1 / 3, 1, 3)


def test_recall_of_nothing_is_not_a_number() -> None:
    assert math.isnan(MonthRecall().value)
    assert math.isnan(NextEventRecall().value)


def test_answers_are_taken_in_the_order_of_cases() -> None:
    cases = [Case("ann", 0, frozenset({"x"})), Case("bob", 1, frozenset({"y"}))]
    assert month_recall(cases, [["x"], ["x"]]) == 0.5
    assert next_event_recall(cases, [["x"], ["y"]]) == 1.0


def test_too_few_answers_are_an_error() -> None:
    with pytest.raises(ValueError, match="shorter"):
        next_event_recall([Case("ann", 0, frozenset({"x"}))], [])


def test_popularity_answers_every_case_alike() -> None:
    cases = [Case("ann", 0, frozenset({"x"})), Case("bob", 1, frozenset({"y"}))]
    assert next_event_recall(cases, popularity(cases, ["x"])) == 0.5
