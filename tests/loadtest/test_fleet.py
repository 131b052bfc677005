"""Several processes load one server; what they saw adds up to what it counted."""

import time

import pytest

from serving.errors import InvalidRequestError, UnavailableError
from serving.loadtest.fleet import run
from serving.loadtest.outcome import Outcome
from serving.loadtest.plan import Closed, Open
from tests.loadtest.loads import plan
from tests.loadtest.server import Server, echo


def test_processes_share_the_rate_and_their_figures_add_up() -> None:
    shown: list[int] = []
    begun: list[float] = []
    with Server(echo) as server:
        target = plan(target=server.target, pacing=Open(400), duration_s=0.8, processes=2, connections=3)
        outcome = run(target, lambda so_far: shown.append(so_far.answered), begun.append)
    assert len(server.connections) == 6
    assert outcome.answered == outcome.offered == len(server.calls)
    assert 200 < outcome.offered < 460
    assert shown == sorted(shown)
    assert shown[-1] == outcome.answered
    assert begun[0] < time.monotonic()


def test_a_closed_loop_is_shared_too() -> None:
    with Server(echo) as server:
        outcome = run(plan(target=server.target, pacing=Closed(5), processes=2, connections=1))
    assert outcome.answered > 10
    assert outcome.failed == 0


def test_a_server_that_is_not_there_is_said_once() -> None:
    with pytest.raises(UnavailableError, match=r"--target 127.0.0.1:1: "):
        run(plan(processes=2))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"target": "nowhere"}, "--target: expected host:port, got 'nowhere'"),
        ({"pacing": Open(0)}, "--rate: expected 0.001 to 1e\\+07, got 0"),
        ({"pacing": Open(float("nan"))}, "--rate: .*, got nan"),
        ({"pacing": Closed(0)}, "--closed .*: expected 1 to 200, got 0"),
        ({"pacing": Closed(201)}, "--closed .*: expected 1 to 200, got 201"),
        ({"duration_s": 0}, "--duration: expected 0.1 to 604800, got 0"),
        ({"processes": 0}, "--processes: expected 1 to 64, got 0"),
        ({"connections": 0}, "--connections: expected 1 to 1000, got 0"),
        ({"requests": []}, "requests: expected at least one, got none"),
    ],
)
def test_what_cannot_be_is_refused_by_name(more: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        run(plan(**more))


def test_figures_of_a_part_of_the_time_are_those_of_calls_that_were_due_then() -> None:
    with Server(echo) as server:
        outcome = run(plan(target=server.target, duration_s=1.0, slice_s=0.25))
    parts = [outcome.latencies(first_s=at / 4, last_s=(at + 1) / 4).count for at in range(4)]
    assert sum(parts) == outcome.answered
    assert all(20 < part < 250 for part in parts), "some 125 of each quarter"
    assert isinstance(outcome, Outcome)
    assert outcome.slices("one") == [0.0, 0.25, 0.5, 0.75]
    assert outcome.slices("three") == []
