"""Calls that are due are sent, every end of one is taken down, and latency counts from when it was due."""

import asyncio
from collections.abc import Callable
from typing import Any

import h2.settings
import pytest

from serving.errors import UnavailableError
from serving.loadtest.generator import Generator
from serving.loadtest.outcome import percentiles
from serving.loadtest.plan import Closed, Open
from tests.loadtest.loads import plan, run_against
from tests.loadtest.server import OPENING, Call, echo


def test_every_call_that_was_due_is_sent_and_its_answer_counted_by_kind() -> None:
    outcome, server = run_against(echo)
    assert outcome.offered > 50
    assert outcome.answered == outcome.offered == len(server.calls)
    assert (outcome.failed, outcome.unsent) == (0, 0)
    sent = [call.message.decode() for call in server.calls]
    assert {name: outcome.latencies(name).count for name in ("one", "two")} == {
        name: sent.count(name) for name in ("one", "two")
    }
    assert len({id(call.connection) for call in server.calls}) == 2


def test_calls_carry_what_grpc_asks_for_and_the_metadata() -> None:
    _, server = run_against(echo, metadata={"authorization": "Bearer x"})
    expected = {
        ":method": "POST",
        ":path": "/service/Method",
        ":authority": server.target,
        "te": "trailers",
        "content-type": "application/grpc",
        "grpc-timeout": "5000m",
        "authorization": "Bearer x",
    }
    for call in server.calls:
        assert expected.items() <= call.headers.items()


def test_a_stall_counts_for_every_call_that_was_due_in_it() -> None:
    """Only one call runs at a time: a generator that waits for it before the next is due would see one slow call."""
    stalled: list[Call] = []

    def answer(call: Call) -> None:
        if not stalled:
            stalled.append(call)
            asyncio.get_running_loop().call_later(0.4, call.reply, call.message)
        else:
            call.reply(call.message)

    outcome, _ = run_against(answer, pacing=Open(200), duration_s=0.8, connections=1, streams=1)
    latencies = outcome.latencies()
    slow = int(latencies.counts[latencies.values > 100_000].sum())
    due_in_the_stall = 200 * 0.3
    assert slow > due_in_the_stall * 0.3  # arrivals are by chance; who waits for the first sees one
    assert percentiles(latencies.histogram())["max"] >= 390


def test_a_call_that_waited_for_room_says_what_is_left_of_its_time() -> None:
    first: list[Call] = []

    def answer(call: Call) -> None:
        if not first:
            first.append(call)
            asyncio.get_running_loop().call_later(0.4, call.reply, call.message)
        else:
            call.reply(call.message)

    _, server = run_against(answer, pacing=Open(50), duration_s=0.5, timeout_s=4.0, connections=1, streams=1)
    said = [int(call.headers["grpc-timeout"].removesuffix("m")) for call in server.calls]
    assert said[0] == 4000, "it found room"
    assert 0 < said[1] <= 3800, "it had to wait for the first one's answer"


def test_a_closed_loop_keeps_so_many_calls_running_and_no_more() -> None:
    running = most = 0

    def answer(call: Call) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)

        def end() -> None:
            nonlocal running
            running -= 1
            call.reply(call.message)

        asyncio.get_running_loop().call_soon(end)

    outcome, server = run_against(answer, pacing=Closed(7))
    assert most <= 7
    assert outcome.answered > 20
    assert outcome.offered_rate is None
    assert len(server.calls) - outcome.answered in range(8)


def test_the_servers_limit_of_streams_is_kept_and_what_was_never_sent_is_said() -> None:
    waiting: list[Call] = []
    limit = {h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 3}
    outcome, server = run_against(waiting.append, limit, timeout_s=0.05, connections=1)
    assert len(server.calls) == 3
    assert dict(outcome.errors) == {"DEADLINE_EXCEEDED": 3}
    assert outcome.unsent == outcome.offered - 3


def ended_by(*frames: Callable[[Any, int], None]) -> Callable[[Call], None]:
    return lambda call: call.send(*frames)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (lambda call: call.fail(8, "too much"), "RESOURCE_EXHAUSTED"),
        (lambda call: call.fail(99, "what"), "UNKNOWN"),
        (ended_by(lambda h, s: h.send_headers(s, [(":status", "503")], end_stream=True)), "UNAVAILABLE"),
        (ended_by(lambda h, s: h.reset_stream(s, 7)), "UNAVAILABLE"),
        (ended_by(lambda h, s: h.reset_stream(s, 8)), "CANCELLED"),
        (ended_by(lambda h, s: h.send_headers(s, OPENING), lambda h, s: h.end_stream(s)), "UNKNOWN"),
        (
            ended_by(
                lambda h, s: h.send_headers(s, OPENING),
                lambda h, s: h.send_headers(s, [("grpc-status", "0")], end_stream=True),
            ),
            "INTERNAL",
        ),
        (
            ended_by(
                lambda h, s: h.send_headers(s, OPENING),
                lambda h, s: h.send_data(s, b"\1\0\0\0\1x"),
                lambda h, s: h.send_headers(s, [("grpc-status", "0")], end_stream=True),
            ),
            "INTERNAL",
        ),
    ],
)
def test_whatever_is_no_answer_is_an_error_by_code(answer: Callable[[Call], None], code: str) -> None:
    outcome, server = run_against(answer)
    assert dict(outcome.errors) == {code: len(server.calls)}
    assert outcome.answered == 0


def test_messages_of_errors_are_kept_as_examples() -> None:
    outcome, server = run_against(lambda call: call.fail(3, f"number {call.stream}"))
    assert len(server.calls) > 3
    assert len(outcome.messages["INVALID_ARGUMENT"]) == 3


def test_answers_in_several_padded_frames_and_headers_in_several_are_whole() -> None:
    def answer(call: Call) -> None:
        body = b"\0" + len(call.message).to_bytes(4, "big") + call.message
        call.send(
            lambda h, s: h.send_headers(s, OPENING),
            lambda h, s: h.send_data(s, body[:2], pad_length=7),
            lambda h, s: h.send_data(s, body[2:]),
            lambda h, s: h.send_headers(s, [("grpc-status", "0"), ("x", "y" * 20_000)], end_stream=True),
        )

    outcome, server = run_against(answer, pacing=Closed(1), duration_s=0.1)
    assert outcome.answered == len(server.calls) > 0
    assert set(outcome.kinds) <= {"one", "two"}


def test_requests_larger_than_a_frame_and_many_of_them_keep_to_the_servers_windows() -> None:
    large = bytes(range(97, 123)) * 2_000
    outcome, server = run_against(lambda call: call.reply(b"got"), requests=[large], pacing=Open(100))
    assert outcome.answered == len(server.calls) > 0
    assert {call.message for call in server.calls} == {large}


def test_a_request_beyond_the_servers_window_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(UnavailableError, match="at most 65535 bytes, the server's window of a stream, got 70005"):
        run_against(echo, requests=[b"x" * 70_000])


def test_a_connection_that_is_told_to_go_is_replaced_and_its_calls_end() -> None:
    told: set[int] = set()

    def answer(call: Call) -> None:
        connection = call.connection
        if len(told) < 2 and id(connection) not in told:
            told.add(id(connection))
            connection.h2.close_connection(last_stream_id=call.stream)
            goaway = connection.h2.data_to_send()
            connection.transport.write(goaway)
            connection.h2.state_machine.state = h2.connection.ConnectionState.SERVER_OPEN  # it drains gracefully
        call.reply(call.message)

    outcome, server = run_against(answer, pacing=Open(300))
    assert len(server.connections) == 4
    assert (outcome.answered, outcome.failed) == (outcome.offered, 0)


def test_a_lost_connection_fails_its_calls_and_is_replaced() -> None:
    lost: list[Call] = []

    def answer(call: Call) -> None:
        if not lost:
            lost.append(call)
            call.connection.transport.abort()
        else:
            call.reply(call.message)

    outcome, server = run_against(answer, pacing=Closed(4))
    assert 1 <= outcome.errors["UNAVAILABLE"] <= 4
    assert outcome.answered > 20
    assert len(server.connections) == 3


def test_calls_of_the_warm_up_are_sent_and_not_counted() -> None:
    outcome, server = run_against(echo, warm_s=0.2)
    assert len(server.calls) > outcome.answered == outcome.offered > 0


def test_who_does_not_answer_is_unavailable() -> None:
    async def connect() -> None:
        await Generator(plan(), 0).connect()

    with pytest.raises(UnavailableError, match=r"127.0.0.1:1: .*(refused|failed)"):
        asyncio.run(connect())


def test_who_speaks_no_http2_is_unavailable() -> None:
    class Closing(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            transport.abort()

    async def connect() -> None:
        server = await asyncio.get_running_loop().create_server(Closing, "127.0.0.1", 0)
        async with server:
            target = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
            await Generator(plan(target=target), 0).connect()

    with pytest.raises(UnavailableError, match=r"before it said anything of HTTP/2|reset"):
        asyncio.run(connect())


def test_a_server_without_a_header_table_gets_headers_that_need_none() -> None:
    outcome, server = run_against(echo, {h2.settings.SettingCodes.HEADER_TABLE_SIZE: 0}, metadata={"m": "v" * 300})
    assert outcome.answered == len(server.calls) > 0
    assert {call.headers["m"] for call in server.calls} == {"v" * 300}


def test_unknown_frames_and_pings_do_no_harm() -> None:
    def answer(call: Call) -> None:
        call.raw(b"\0\0\3\xfa\0\0\0\0\0abc")
        call.send(lambda h, _: h.ping(b"12345678"))
        call.reply(call.message)

    outcome, server = run_against(answer)
    assert outcome.answered == len(server.calls) > 0
