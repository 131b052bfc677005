"""Items that must not be shown, and predictions that were computed elsewhere, as the fold takes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protos.judging import MAX_BLOCKED, Outcome
from protos.ledger import World
from protos.nearline.v1 import ledger_pb2, status_pb2
from tests.builders.ledger import Entry, announcement, blocking, bulk_load, bulk_shown, folded, record

ACCEPTED, REPEATED, LOST, UNUSABLE = Outcome.ACCEPTED, Outcome.REPEATED, Outcome.LOST, Outcome.UNUSABLE


def outcomes(*entries: Entry) -> list[Outcome]:
    return [verdict.outcome for verdict in folded(*entries)[1]]


def test_each_entry_replaces_what_was_said_of_its_item_before() -> None:
    world, verdicts = folded(blocking("m", a=0, b=5), blocking("m", b=7), blocking("m", "a", c=9))
    assert {v.outcome for v in verdicts} == {ACCEPTED}
    assert world.models["m"].blocked == {"b": 7, "c": 9}


def test_a_blocking_that_says_what_is_so_changes_nothing() -> None:
    assert outcomes(blocking("m", a=0), blocking("m", a=0), blocking("m", "never")) == [ACCEPTED, REPEATED, REPEATED]


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        (ledger_pb2.Blocking(), status_pb2.POLICY, f"items: expected 1 to {MAX_BLOCKED}, got 0"),
        (ledger_pb2.Blocking(items=[ledger_pb2.BlockedItem()]), status_pb2.UNDECODABLE, "expected an item and a time"),
        (
            ledger_pb2.Blocking(items=[ledger_pb2.BlockedItem(item="a", until_ms=-1)]),
            status_pb2.UNDECODABLE,
            "expected an item and a time",
        ),
    ],
)
def test_an_unusable_blocking_says_why(said: ledger_pb2.Blocking, kind: int, words: str) -> None:
    world, (verdict,) = folded(record(ledger_pb2.Statement(model="m", blocking=said)))
    assert (verdict.outcome, verdict.kind) == (UNUSABLE, kind)
    assert words in verdict.message
    assert world.models == {}


def test_a_list_has_an_end() -> None:
    half = MAX_BLOCKED // 2
    first = blocking("m", **{f"a{n}": 0 for n in range(half)})
    second = blocking("m", **{f"b{n}": 0 for n in range(half)})
    world, verdicts = folded(first, second, blocking("m", one=0), blocking("m", "a1", one=0))
    assert [v.outcome for v in verdicts] == [ACCEPTED, ACCEPTED, UNUSABLE, ACCEPTED]
    assert f"blocked items: expected at most {MAX_BLOCKED}, got {MAX_BLOCKED + 1}" in verdicts[2].message
    assert len(world.models["m"].blocked) == MAX_BLOCKED


@given(st.lists(st.dictionaries(st.sampled_from("abcd"), st.none() | st.integers(0, 3), min_size=1)))
def test_a_replay_of_any_blockings_gives_the_same_list(said: list[dict[str, int | None]]) -> None:
    entries = []
    for part in said:
        hidden = {item: until_ms for item, until_ms in part.items() if until_ms is not None}
        entries.append(blocking("m", *(part.keys() - hidden.keys()), **hidden))
    expected: dict[str, int] = {}
    for part in said:
        for item, until_ms in part.items():
            if until_ms is None:
                expected.pop(item, None)
            else:
                expected[item] = until_ms
    once, twice = World(), World()
    for offset, entry in enumerate(entries):
        once.apply(offset, *entry)
        twice.apply(2 * offset, *entry)
        twice.apply(2 * offset + 1, *entry)
    for world in (once, twice):
        found = world.models["m"].blocked if "m" in world.models else {}
        assert found == expected


def test_the_first_load_of_a_number_wins_and_smaller_numbers_are_lost() -> None:
    world, verdicts = folded(
        announcement(),
        bulk_load(number=2),
        bulk_load(number=2),
        bulk_load(number=2, content="other"),
        bulk_load(number=1),
        bulk_load(number=3, rows=7),
    )
    assert [v.outcome for v in verdicts[1:]] == [ACCEPTED, REPEATED, LOST, LOST, ACCEPTED]
    assert verdicts[3].message == "bulk load: expected a number above 2, got 2"
    assert sorted(world.models["m"].loads) == [2, 3]
    assert world.models["m"].loads[3].rows == 7


@pytest.mark.parametrize(
    ("entry", "kind", "words"),
    [
        (bulk_load(version=7), status_pb2.POLICY, "version: expected an announced one, got 7"),
        (bulk_load(digest="0" * 64), status_pb2.DIGEST, "version 1: expected"),
        (bulk_load(sha256="ff"), status_pb2.UNDECODABLE, "digest: expected 64"),
        (bulk_shown(number=4), status_pb2.POLICY, "bulk load: expected a known one, got 4"),
    ],
)
def test_an_unusable_load_says_why_and_changes_nothing(entry: Entry, kind: int, words: str) -> None:
    world, verdicts = folded(announcement(), entry)
    assert (verdicts[1].outcome, verdicts[1].kind) == (UNUSABLE, kind)
    assert words in verdicts[1].message
    assert (world.models["m"].loads, world.models["m"].shown) == ({}, 0)


def test_the_first_choice_of_an_epoch_wins_and_none_can_be_chosen() -> None:
    world, verdicts = folded(
        announcement(),
        bulk_load(number=1),
        bulk_load(number=2),
        bulk_shown(epoch=1, number=2),
        bulk_shown(epoch=1, number=2),
        bulk_shown(epoch=1, number=1),
        bulk_shown(epoch=0, number=1),
        bulk_shown(epoch=3, number=0),
        bulk_shown(epoch=2, number=1),
    )
    assert [v.outcome for v in verdicts[3:]] == [ACCEPTED, REPEATED, LOST, LOST, ACCEPTED, LOST]
    assert (world.models["m"].shown, world.models["m"].shown_epoch) == (0, 3)


def test_a_snapshot_keeps_its_list_and_loads() -> None:
    world, _ = folded(announcement(), blocking("m", a=0), bulk_load(number=1))
    before = world.models["m"].snapshot()
    for offset, entry in enumerate((blocking("m", b=0), bulk_load(number=2), bulk_shown(number=2)), 3):
        world.apply(offset, *entry)
    assert (before.blocked, sorted(before.loads), before.shown) == ({"a": 0}, [1], 0)
