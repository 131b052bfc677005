from serving.demo.cases import Case, month_cases, next_cases, products_before, sample_entities
from tests.demo.streams import stream

STREAM = [
    ("ann", "x", 0.0),
    ("bob", "y", 1.0),
    ("ann", "y", 100.0),
    ("eve", "x", 101.0),  # nothing is known of her
    ("ann", "new", 102.0),  # nobody could know it
    ("ann", "x", 103.0),
    ("ann", "x", 104.0),
    ("eve", "y", 105.0),
]
KNOWN = ("x", "y")


def test_month_asks_once_for_each_entity_that_bought_before_and_after() -> None:
    assert month_cases(stream(STREAM), KNOWN) == [Case("ann", 2, frozenset({"x", "y"}))]


def test_next_event_asks_at_each_purchase_of_a_known_product_with_a_history() -> None:
    assert next_cases(stream(STREAM), KNOWN) == [
        Case("ann", 2, frozenset({"y"})),
        Case("ann", 5, frozenset({"x"})),
        Case("ann", 6, frozenset({"x"})),
        Case("eve", 7, frozenset({"y"})),
    ]


def test_a_sample_holds_all_cases_of_its_entities_in_order() -> None:
    cases = [Case(f"entity-{row % 50}", row, frozenset({"x"})) for row in range(500)]
    sample = sample_entities(cases, seed=7, at_least=95)
    assert len(sample) == 100
    assert len({case.entity_id for case in sample}) == 10
    assert sample == sorted(sample, key=lambda case: case.row)


def test_a_sample_is_reproducible_and_differs_by_seed() -> None:
    cases = [Case(f"entity-{row % 50}", row, frozenset({"x"})) for row in range(500)]
    assert sample_entities(cases, 1, 100) == sample_entities(cases, 1, 100) != sample_entities(cases, 2, 100)


def test_a_sample_of_more_than_there_are_is_all() -> None:
    cases = next_cases(stream(STREAM), KNOWN)
    assert sample_entities(cases, 0) == cases


def test_the_product_before_is_of_the_same_order_and_known() -> None:
    lines = [("ann", "x", 0.0), ("ann", "y", 1.0), ("eve", "x", 1.0), ("ann", "x", 1.0), ("ann", "new", 2.0)]
    purchases = stream([*lines, ("ann", "y", 2.0), ("ann", "x", 2.0)])
    cases = [Case("ann", row, frozenset({"x"})) for row in (1, 3, 5, 6)]
    assert products_before(purchases, cases, KNOWN) == [(cases[1], "y"), (cases[3], "y")]
