"""Life of a model instance, as one table. A transition that is not in it is a defect, and raises.

docs/lifecycle.md is drawn from this table. What is published, and when: a state on entering it, unless the next one
follows within a twentieth of a second (the log has them all); READY after the swap that makes the instance serve,
DRAINING before the swap that takes it away.
"""

from enum import Enum

from protos.nearline.v1 import status_pb2


class State(Enum):
    """Values are those of the published InstanceState."""

    ANNOUNCED = status_pb2.ANNOUNCED
    FETCHING = status_pb2.FETCHING
    VERIFYING = status_pb2.VERIFYING
    LOADING = status_pb2.LOADING
    WARMING = status_pb2.WARMING
    READY = status_pb2.READY
    DRAINING = status_pb2.DRAINING
    UNLOADED = status_pb2.UNLOADED
    FAILED = status_pb2.FAILED
    REJECTED = status_pb2.REJECTED
    SUPERSEDED = status_pb2.SUPERSEDED


_ENDS_EARLY = {State.FAILED, State.REJECTED, State.SUPERSEDED}

TRANSITIONS: dict[State, frozenset[State]] = {
    State.ANNOUNCED: frozenset({State.FETCHING, *_ENDS_EARLY}),
    State.FETCHING: frozenset({State.VERIFYING, *_ENDS_EARLY}),
    State.VERIFYING: frozenset({State.LOADING, *_ENDS_EARLY}),
    State.LOADING: frozenset({State.WARMING, *_ENDS_EARLY}),
    State.WARMING: frozenset({State.READY, *_ENDS_EARLY}),
    State.READY: frozenset({State.DRAINING}),
    # REJECTED: it was taken away because it failed while it ran.
    State.DRAINING: frozenset({State.UNLOADED, State.REJECTED}),
    # A later decision may want the version again: its life begins anew.
    State.UNLOADED: frozenset({State.ANNOUNCED}),
    State.FAILED: frozenset({State.ANNOUNCED}),
    State.REJECTED: frozenset({State.ANNOUNCED}),
    State.SUPERSEDED: frozenset({State.ANNOUNCED}),
}

WORKING = frozenset({State.ANNOUNCED, State.FETCHING, State.VERIFYING, State.LOADING, State.WARMING})
"""On the way to READY."""

ENDED = frozenset({State.READY, State.FAILED, State.REJECTED, State.SUPERSEDED})
"""Where an announcement's way ends: what a publisher waits for."""


class TransitionError(Exception):
    """The table has no such transition: a defect of ours."""


def check_transition(old: State, new: State) -> None:
    """Raise TransitionError unless the table allows it."""
    if new not in TRANSITIONS[old]:
        raise TransitionError(f"no transition from {old.name} to {new.name}")


class NotWantedError(Exception):
    """A newer decision has made a load pointless."""
