import numpy as np

from serving.demo.purchases import DAY_MS
from tests.demo.streams import stream


def test_rows_come_in_order_of_time_and_equal_times_in_order_of_the_source() -> None:
    purchases = stream([("a", "late", 5), ("a", "y", 1), ("a", "x", 1)])
    assert [purchases.item_ids[item] for item in purchases.items] == ["y", "x", "late"]


def test_the_last_thirty_days_are_held_out_from_midnight() -> None:
    purchases = stream([("a", "x", 0), ("a", "x", 69.9), ("a", "x", 70), ("a", "x", 70.4), ("a", "x", 100.5)])
    assert purchases.cutoff == 70 * DAY_MS
    assert len(purchases.training) == 2
    assert len(purchases.held_out) == 3


def test_a_stream_of_less_than_three_months_holds_out_its_last_tenth() -> None:
    purchases = stream([("a", "x", day) for day in range(60)])
    assert (len(purchases.training), len(purchases.held_out)) == (54, 6)


def test_parts_keep_the_numbering() -> None:
    purchases = stream([("a", "x", 0), ("b", "y", 100)])
    assert purchases.held_out.entity_ids[purchases.held_out.entities[0]] == "b"
    assert purchases.held_out.item_ids[purchases.held_out.items[0]] == "y"


def test_event_times_of_a_basket_grow_in_its_order_and_stay_near_the_shops_times() -> None:
    purchases = stream([("a", "x", 1), ("a", "y", 1), ("b", "x", 1), ("a", "z", 1), ("a", "x", 2)])
    times = purchases.event_times() - DAY_MS
    assert times.tolist() == [0, 1, 0, 2, DAY_MS]


def test_event_times_grow_through_times_that_are_nearer_than_their_baskets() -> None:
    purchases = stream([("a", "x", 0), ("a", "y", 0), ("a", "z", 0), ("a", "x", 1 / DAY_MS)])
    assert np.all(np.diff(purchases.event_times()) > 0)
