"""The state behind `last_n`: however events are delivered, it ends the same."""

import hashlib
from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serving.recipes.event import ID_BYTES, Event
from serving.recipes.history import History, last_n, state_key
from serving.recipes.recipe import LastN

ITEM = LastN(n=3)
KEPT = 5


def event(ts: int, identity: int, item: str | None = "a") -> Event:
    digest = hashlib.blake2b(b"%d" % identity, digest_size=ID_BYTES).digest()
    return Event(b"e", digest, "", ts, {} if item is None else {"item": item})


EVENTS = st.lists(
    st.builds(event, st.integers(0, 4), st.integers(0, 40), st.sampled_from(["a", "b", None])),
    max_size=15,
    unique_by=lambda e: e.id,
)


def after(*deliveries: Sequence[Event], kept: int = KEPT) -> History:
    history = History()
    for events in deliveries:
        history.fold(events, ITEM, kept)
    return history


@given(EVENTS.flatmap(lambda events: st.tuples(st.just(events), st.permutations(events))))
def test_the_order_of_delivery_does_not_matter(both: tuple[list[Event], list[Event]]) -> None:
    assert after(both[0]) == after(both[1])


@given(EVENTS, st.integers(0, 15))
def test_where_batches_end_does_not_matter(events: list[Event], cut: int) -> None:
    assert after(events[:cut], events[cut:]) == after(events)
    assert after(*([e] for e in events)) == after(events)


@given(EVENTS, st.data())
def test_events_delivered_again_have_no_effect(events: list[Event], data: st.DataObject) -> None:
    history = after(events)
    before = list(history.entries)
    again = data.draw(st.lists(st.sampled_from(events), max_size=10)) if events else []
    assert history.fold(again, ITEM, KEPT) is False
    assert history.entries == before


@given(EVENTS)
def test_the_newest_are_kept_by_time_and_then_id(events: list[Event]) -> None:
    entries = sorted((e.ts_ms, e.id, str(e.fields["item"])) for e in events if "item" in e.fields)
    assert after(events).entries == entries[-KEPT:]


@given(EVENTS)
def test_folding_tells_whether_anything_changed(events: list[Event]) -> None:
    history = History()
    for one in events:
        before = list(history.entries)
        assert history.fold([one], ITEM, KEPT) is (history.entries != before)


@given(EVENTS)
def test_a_history_comes_back_from_the_store_as_it_was(events: list[Event]) -> None:
    history = after(events, kept=100)
    assert History.decode(history.encode()) == history


def test_nothing_stored_is_an_empty_history() -> None:
    assert History.decode(None) == History() == History.decode(History().encode())


def test_numbers_are_kept_as_text() -> None:
    history = History()
    history.fold([Event(b"e", b"12345678", "", 1, {"item": 42})], ITEM, KEPT)
    assert history.values == ["42"]


def test_features_over_the_same_field_share_a_state_and_others_do_not() -> None:
    assert state_key(LastN(n=1), b"e") == state_key(LastN(n=9), b"e")
    assert state_key(LastN(n=1, field="a"), b"e") != state_key(LastN(n=1, field="b"), b"e")


def test_the_longest_key_fits_the_store() -> None:
    assert len(state_key(LastN(n=1, field="\U0001f600" * 60), b"x" * 256)) + 3 <= 511


@given(EVENTS)
def test_the_input_holds_the_last_rows_oldest_first_padded_on_the_left(events: list[Event]) -> None:
    history = after(events)
    row = last_n(ITEM, [history], {"a": 0, "b": 1})[0].tolist()
    values = [{"a": 0, "b": 1}[value] for value in history.values][-3:]
    assert row == [-1] * (3 - len(values)) + values


def test_items_that_the_catalogue_does_not_know_leave_their_place_to_older_ones() -> None:
    history = after([event(1, 1, "a"), event(2, 2, "b"), event(3, 3, "new")])
    assert last_n(LastN(n=2, pad=9), [history, History()], {"a": 5, "b": 6}).tolist() == [[5, 6], [9, 9]]


def test_the_input_of_no_entities_is_empty() -> None:
    made = last_n(ITEM, [], {})
    assert made.shape == (0, 3)
    assert made.dtype == np.int64
