"""Answers that are only counted: as many as the server gave, however its writes are cut."""

from typing import Any

import pytest

from serving.errors import InvalidRequestError
from serving.loadtest import frames
from serving.loadtest.describe import describe
from serving.loadtest.fleet import run
from serving.loadtest.plan import Closed, Open
from tests.loadtest.loads import plan, run_against
from tests.loadtest.server import Call, Server, echo

OK = b"\0\x0bgrpc-status\x010"
OPENING = b"\x88\0\x0ccontent-type\x10application/grpc"


def answer_of(call: Call, status: bytes = OK) -> bytes:
    """As a server writes it that compresses nothing."""
    message = call.message
    body = b"\0" + len(message).to_bytes(4, "big") + message
    return (
        frames.frame(frames.HEADERS, frames.END_HEADERS, call.stream, OPENING)
        + frames.frame(frames.DATA, 0, call.stream, body)
        + frames.frame(frames.HEADERS, frames.WHOLE, call.stream, status)
    )


def literally(call: Call) -> None:
    call.raw(answer_of(call))


def counted(answer: Any, running: int = 8, **more: Any) -> tuple[Any, Server]:
    return run_against(answer, read=None, pacing=Closed(running), **{"duration_s": 1.0, **more})


@pytest.mark.parametrize("running", [1, 2, 8])
@pytest.mark.parametrize("answer", [literally, echo])
def test_all_answers_are_counted_and_the_loop_goes_on(answer: Any, running: int) -> None:
    outcome, server = counted(answer, running, connections=min(2, running))
    assert outcome.failed == 0
    assert outcome.answered > 0
    assert len(server.calls) - outcome.answered in range(running + 1)


def test_answers_that_come_byte_by_byte_are_counted_once() -> None:
    outcome, server = counted(lambda call: [call.raw(bytes((byte,))) for byte in answer_of(call)], 2, connections=1)
    assert outcome.failed == 0
    assert outcome.answered > 0
    assert len(server.calls) - outcome.answered in range(3)


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (b"\0\x0bgrpc-status\x018", "RESOURCE_EXHAUSTED"),
        (b"\0\x0bgrpc-status\x0214\0\x0cgrpc-message\x01x", "UNAVAILABLE"),
    ],
)
def test_calls_that_fail_are_counted_by_code_apart(status: bytes, name: str) -> None:
    outcome, server = counted(lambda call: call.raw(answer_of(call, status if call.stream % 6 == 1 else OK)))
    assert set(outcome.errors) == {name}
    assert outcome.answered > outcome.failed > 0
    assert len(server.calls) - outcome.answered - outcome.failed in range(9)


def test_a_lost_connection_fails_what_ran_on_it_and_is_replaced() -> None:
    lost: list[Call] = []

    def answer(call: Call) -> None:
        if call.stream > 5 and not lost:
            lost.append(call)
            call.connection.transport.abort()
        else:
            literally(call)

    outcome, server = counted(answer, 4)
    assert 1 <= outcome.errors["UNAVAILABLE"] <= 4
    assert outcome.answered > 0
    assert len(server.connections) == 3


def test_there_are_no_latencies_and_an_open_loop_is_refused() -> None:
    outcome, _ = counted(literally)
    assert describe(outcome)["latency_ms"] is None
    with pytest.raises(InvalidRequestError, match="--count-only: expected a closed loop"):
        run(plan(read=None, pacing=Open(5)))
