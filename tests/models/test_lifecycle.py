"""The table of states."""

from itertools import pairwise

import pytest

from protos.nearline.v1 import status_pb2
from serving.models.lifecycle import ENDED, TRANSITIONS, WORKING, State, TransitionError, check_transition

PAIRS = [(old, new) for old in State for new in State]


@pytest.mark.parametrize(("old", "new"), [pair for pair in PAIRS if pair[1] in TRANSITIONS[pair[0]]])
def test_what_is_in_the_table_is_allowed(old: State, new: State) -> None:
    check_transition(old, new)


@pytest.mark.parametrize(("old", "new"), [pair for pair in PAIRS if pair[1] not in TRANSITIONS[pair[0]]])
def test_a_missing_entry_is_the_error(old: State, new: State) -> None:
    with pytest.raises(TransitionError, match=f"^no transition from {old.name} to {new.name}$"):
        check_transition(old, new)


def test_every_published_state_has_an_entry() -> None:
    published = {value for value in status_pb2.InstanceState.values() if value}
    assert {state.value for state in State} == published == {state.value for state in TRANSITIONS}


def test_every_working_state_may_end_early_and_nothing_skips_a_step() -> None:
    ends = {State.FAILED, State.REJECTED, State.SUPERSEDED}
    way = [State.ANNOUNCED, State.FETCHING, State.VERIFYING, State.LOADING, State.WARMING, State.READY]
    for old, new in pairwise(way):
        assert TRANSITIONS[old] == {new, *ends}
    assert set(way[:-1]) == WORKING


def test_where_a_publisher_stops_waiting_nothing_works_any_more() -> None:
    assert not ENDED & WORKING


def test_every_life_can_begin_anew() -> None:
    for state in (State.UNLOADED, State.FAILED, State.REJECTED, State.SUPERSEDED):
        assert TRANSITIONS[state] == {State.ANNOUNCED}
