"""However events are delivered within the lateness, an entity's state and its features come out the same."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.recipes.describe import describe
from serving.recipes.event import Event, id_hash
from serving.recipes.fold import SEEN, Folded, fold
from serving.recipes.inputs import Inputs
from serving.recipes.parse import parse_recipe
from serving.recipes.recipe import Recipe
from serving.recipes.state import Tracks, tracks_of
from serving.recipes.tracks import KEPT
from tests.recipes.cases import (
    CATALOGUE,
    EVENTS,
    EVERYTHING,
    INPUTS,
    LATENESS,
    MINUTE,
    SHAPES,
    START,
    Tensor,
    deliveries,
    event,
    in_order,
)
from tests.recipes.naive import features

TRACKS = tracks_of([EVERYTHING])
ALL = Inputs(EVERYTHING, INPUTS, CATALOGUE)


def folded(batches: Sequence[Sequence[Event]], tracks: Tracks = TRACKS, lateness: int = LATENESS) -> bytes:
    document = None
    for events in batches:
        document = fold(document, events, tracks, lateness).document
    assert document is not None
    return document


def exact(document: bytes) -> dict[str, Any]:
    """Without the floating sums: (bucket, count, sum, largest)."""
    said = describe(document)
    for track in said["tracks"]:
        if track["kind"] == "sums":
            track["values"] = [[bucket, count, most] for bucket, count, _, most in track["values"]]
    return said


def computed(inputs: Inputs, document: bytes | None, instant: int, **request: Any) -> dict[str, Any]:
    made = inputs.compute([document], [instant], [request])
    return {name: array[0].tolist() if isinstance(array[0], np.ndarray) else array[0] for name, array in made.items()}


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name, value in other.items():
        if isinstance(value, str) or (isinstance(value, list) and isinstance(value[0], str)):
            assert one[name] == value, name
        else:
            assert one[name] == pytest.approx(value, rel=1e-9, abs=1e-9), name


@given(deliveries(), st.data())
def test_any_order_within_the_lateness_ends_in_the_same_state(
    both: tuple[list[Event], list[Event]], data: st.DataObject
) -> None:
    events, delivered = both
    cut = data.draw(st.integers(0, len(delivered)))
    one = folded([events])
    for other in (
        folded([delivered]),
        folded([delivered[:cut], delivered[cut:]]),
        folded([[], *([e] for e in delivered)]),
    ):
        assert exact(other) == exact(one)


@given(deliveries())
def test_without_floating_sums_the_state_is_the_same_to_the_byte(both: tuple[list[Event], list[Event]]) -> None:
    tracks = tracks_of([{n: f for n, f in EVERYTHING.items() if f.op not in {"sum", "mean", "max"}}])
    assert folded([both[0]], tracks) == folded([[], *([e] for e in both[1])], tracks)


@given(deliveries(), st.integers(1, 90 * MINUTE))
def test_features_are_those_of_all_events_from_scratch(both: tuple[list[Event], list[Event]], after: int) -> None:
    events, delivered = both
    newest = max((e.ts_ms for e in events), default=START)
    document = folded([delivered])
    for instant in (newest + 1, newest + after):
        assert_same(
            computed(ALL, document, instant, page="cart", hour=3, word="w"),
            features(EVERYTHING, events, instant, {"page": "cart", "hour": 3, "word": "w"}, CATALOGUE),
        )


@given(EVENTS, st.sets(st.sampled_from(sorted(EVERYTHING))), st.sets(st.sampled_from(sorted(EVERYTHING))))
def test_another_recipe_changes_no_feature_of_this_one(events: list[Event], mine: set[str], others: set[str]) -> None:
    recipe: Recipe = {name: EVERYTHING[name] for name in sorted(mine)}
    other = {name: EVERYTHING[name] for name in sorted(others)} | parse_recipe(
        "long: {n: 500}\ndistinct: {op: distinct, field: item, window: 1h, limit: 900}"
    )
    inputs = Inputs(recipe, INPUTS, CATALOGUE)
    alone = folded([in_order(events)], tracks_of([recipe]))
    merged = folded([in_order(events)], tracks_of([recipe, other]))
    instant = START + 20 * MINUTE
    assert_same(computed(inputs, merged, instant), computed(inputs, alone, instant))


@given(EVENTS, st.integers(0, 14))
def test_a_track_that_a_worker_does_not_know_is_folded_all_the_same(events: list[Event], cut: int) -> None:
    events = in_order(events)
    knows_nothing = tracks_of([])
    document = fold(None, events[:cut], TRACKS, LATENESS).document
    document = fold(document, events[cut:], knows_nothing, LATENESS).document
    assert exact(document) == exact(folded([events]))


def test_tracks_that_a_new_model_needs_join_a_document_and_older_ones_keep_their_values() -> None:
    first = fold(None, [event(0, 1, "view", {"item": "a"})], tracks_of([]), LATENESS).document
    document = fold(first, [event(1, 2, "buy", {"item": "b"})], TRACKS, LATENESS).document
    got = computed(ALL, document, START + 2)
    assert (got["history"], got["all"], got["since_buy"]) == ([-1, 0, 1], 1, 0.001)


def test_the_same_track_is_kept_once_as_long_as_the_longest() -> None:
    said = describe(folded([[]], tracks_of([parse_recipe("a: {n: 5}"), parse_recipe("b: {n: 300, pad: 0}")])))
    assert [(track["kind"], track["field"], track["keep"]) for track in said["tracks"]] == [("hashes", "item", 300)]


def test_events_later_than_the_lateness_are_reported_and_not_folded() -> None:
    events = [event(LATENESS + 1, 1, "view", {}), event(0, 2, "buy", {"item": "a"}), event(1, 3, "view", {})]
    found = fold(None, events, TRACKS, LATENESS)
    assert found.late == [events[1]]
    assert (found.applied, found.duplicates, found.changed, found.newest_ms) == (2, 0, True, START + LATENESS + 1)
    assert exact(found.document) == exact(folded([[events[0], events[2]]]))


def test_lateness_counts_from_the_newest_event_so_far() -> None:
    events = [event(0, 2, "view", {}), event(LATENESS + 1, 1, "view", {}), event(0, 3, "view", {})]
    assert [late.id for late in fold(None, events, TRACKS, LATENESS).late] == [events[2].id]


def test_repeated_events_change_nothing() -> None:
    events = [event(0, 1, "view", {"price": 1}), event(5, 2, "view", {"price": 1})]
    document = folded([events])
    assert fold(document, events, TRACKS, LATENESS) == Folded(document, False, START + 5, 0, 2, [])
    assert fold(None, [*events, *events], TRACKS, LATENESS).document == document


def test_an_id_that_came_with_another_time_has_no_effect_again() -> None:
    found = fold(None, [event(0, 1, "view", {}), event(9, 1, "view", {})], TRACKS, LATENESS)
    assert (found.applied, found.duplicates, found.newest_ms) == (1, 1, START)


def test_no_events_make_an_empty_document() -> None:
    found = fold(None, [], TRACKS, LATENESS)
    assert (found.changed, found.newest_ms) == (False, -1)
    assert_same(computed(ALL, found.document, START), computed(ALL, None, START))


def test_what_is_remembered_is_bounded() -> None:
    burst = [event(n // 100, n, "view", {"item": f"i{n}", "price": n}) for n in range(3 * SEEN)]
    later = [event(n * MINUTE, n, "view", {"item": f"i{n % 5}"}) for n in range(4 * SEEN, 5 * SEEN)]
    said = describe(folded([burst]))
    assert len(said["seen"]) == SEEN
    assert max(len(track["values"]) for track in said["tracks"]) == 1000
    said = describe(folded([burst, *([e] for e in later)]))
    assert len(said["seen"]) == LATENESS // MINUTE + 1
    assert all(len(track["values"]) <= max(track["keep"], track["limit"]) for track in said["tracks"])
    assert max(len(track["values"]) for track in said["tracks"] if track["kind"] == "hashes") == KEPT


def test_a_document_of_another_format_is_refused() -> None:
    for read in (lambda d: fold(d, [], TRACKS, 0), describe, lambda d: ALL.compute([d], [0])):
        with pytest.raises(ValueError, match="document: expected format 1, got 2"):
            read(b"\x94\x02\xc4\x00\x00\xc4\x00")


def test_one_batch_may_hold_documents_of_several_kinds_and_none() -> None:
    first = fold(None, [event(0, 1, "view", {"item": "a"})], tracks_of([]), LATENESS).document
    second = fold(None, [event(0, 1, "buy", {"item": "b", "price": 2})], TRACKS, LATENESS).document
    made = ALL.compute([first, None, second], np.full(3, START + 1))
    assert made["history"].tolist() == [[-1, -1, 0], [-1, -1, -1], [-1, -1, 1]]
    assert made["history_mask"].tolist() == [[0, 0, 1], [0, 0, 0], [0, 0, 1]]
    assert made["all"].tolist() == [0, 0, 1]
    assert made["last_price"].tolist() == [-1, -1, 2]


def test_an_instant_before_the_newest_event_counts_as_just_after_it() -> None:
    document = folded([[event(5, 1, "view", {"item": "a"})]])
    assert_same(computed(ALL, document, 0), computed(ALL, document, START + 6))


@given(st.lists(st.sampled_from(["a", "b", "new"]), max_size=130), st.integers(1, 120))
def test_unknown_items_leave_their_places_to_older_ones(items: list[str], n: int) -> None:
    recipe = parse_recipe(f"h: {{n: {n}, mask: m}}")
    inputs = Inputs(recipe, [Tensor("h", "INT32", (-1, n)), Tensor("m", "BOOL", (-1, n))], CATALOGUE)
    events = [Event(b"e", id_hash(at), "", START + at, {"item": item}) for at, item in enumerate(items)]
    made = computed(inputs, folded([events], tracks_of([recipe])), START + 200)
    assert made == features(recipe, events, START + 200, {}, CATALOGUE)


def test_the_batch_of_nobody_has_the_right_shapes() -> None:
    made = ALL.compute([], [])
    assert {name: array.shape for name, array in made.items()} == {
        tensor.name: (0, SHAPES[tensor.name]) if tensor.name in SHAPES else (0,) for tensor in INPUTS
    }


@pytest.mark.parametrize("value", ["x" * 257, "", None, 10**400])
def test_what_is_no_value_is_no_event_for_the_feature(value: Any) -> None:
    events = [event(0, 1, "view", {"item": "a", "price": 2}), event(1, 2, "view", {"item": value, "price": value})]
    made = computed(ALL, folded([events]), START + 2)
    assert (made["history"], made["words"], made["prices"], made["items"]) == ([-1, -1, 0], ["", "a"], [0.5, 2], 1)


def test_a_document_tells_people_what_it_holds() -> None:
    recipe = parse_recipe("a: {op: sum, field: price, window: 15m}\nb: {op: last, field: word, missing: ''}")
    document = folded([[event(5, 1, "buy", {"price": 2, "word": "w"})]], tracks_of([recipe]))
    stamp = [START + 5, id_hash(1).hex()]
    said = describe(document)
    assert (said["newest_ms"], said["seen"]) == (START + 5, [stamp])
    assert [(track["kind"], track["field"], track["keep"], track["values"]) for track in said["tracks"]] == [
        ("hashes", "item", KEPT, []),
        ("sums", "price", 15, [[START, 1, 2.0, 2.0]]),
        ("texts", "word", 1, [[*stamp, "w"]]),
    ]
