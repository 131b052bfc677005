"""The connection without a socket: each limit, and what the library `h2` does not try."""

from dataclasses import replace

import h2.events
import pytest

from serving.rpc.http2 import frames
from serving.rpc.http2.codes import ErrorCode
from serving.rpc.http2.connection import Connection
from serving.rpc.http2.events import Opened, Received, Reset, Struck, Writable
from serving.rpc.http2.limits import ConnectionLimits
from serving.rpc.http2.literals import block
from tests.rpc.http2.peer import Joined, server

FIELDS = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/a/B")]
REQUEST = block(FIELDS)
DEFAULT = ConnectionLimits()


def greeted(limits: ConnectionLimits = DEFAULT) -> Connection:
    connection = server(limits)
    connection.receive(frames.PREFACE + frames.settings({}))
    connection.take()
    return connection


def headers(stream_id: int, *, end: bool = False, fields: bytes = REQUEST) -> bytes:
    return frames.headers(stream_id, fields, end=end, frame_bytes=1 << 14)


def data(stream_id: int, content: bytes, *, end: bool = False) -> bytes:
    return frames.frame(frames.DATA, int(end), stream_id, content)


def strikes(connection: Connection, *parts: bytes) -> list[str]:
    """The limits that strike when these are read, one after the other."""
    found = []
    for part in parts:
        found += [event.limit for event in connection.receive(part)[0] if isinstance(event, Struck)]
    return found


def test_a_request_in_one_read_is_complete_without_an_event() -> None:
    connection = greeted()
    events, complete = connection.receive(headers(1) + data(1, b"ab", end=True) + headers(3) + data(3, b"", end=True))
    assert not events
    assert complete == {1: (FIELDS, b"ab", 0), 3: (FIELDS, b"", 0)}
    assert not connection.streams


def test_however_it_is_cut_a_request_is_the_same() -> None:
    whole = headers(1) + data(1, b"ab", end=True)
    for cut in range(1, len(whole)):
        connection = greeted()
        connection.receive(whole[:cut])
        events, complete = connection.receive(whole[cut:])
        content = complete[1][1] if complete else b"".join(e.data for e in events if isinstance(e, Received))
        assert content == b"ab"


def test_a_reset_in_the_same_read_takes_a_complete_request_back() -> None:
    events, complete = greeted().receive(headers(1) + data(1, b"ab", end=True) + frames.rst_stream(1, 8))
    assert not complete
    assert [type(event) for event in events] == [Reset]


def test_a_window_in_the_same_read_counts_for_the_answer() -> None:
    connection = greeted()
    connection.receive(frames.window_update(0, 1 << 20))
    _, complete = connection.receive(headers(1) + data(1, b"ab", end=True) + frames.window_update(1, 100_000))
    assert list(complete) == [1]
    assert 1 in connection.streams, "it is one now: answered in the usual way"
    stream = connection.adopt(1)
    connection.outbox.headers(stream, REQUEST, end=False)
    connection.outbox.data(stream, b"x" * 150_000, last=True)
    assert stream.queued == 0


def test_a_request_as_grpc_core_sends_it_is_complete_too() -> None:
    connection = greeted()
    updates = frames.window_update(1, 200_000), frames.window_update(0, 1 << 20)
    events, complete = connection.receive(headers(1) + updates[0] + data(1, b"ab", end=True) + updates[1])
    assert not events
    assert complete == {1: (FIELDS, b"ab", 200_000)}
    stream = connection.adopt(1)
    connection.outbox.headers(stream, REQUEST, end=False)
    connection.outbox.data(stream, b"x" * 265_535, last=True)
    assert stream.queued == 0


@pytest.mark.parametrize("increment", [0, 1 << 31, (1 << 31) - 1])
def test_a_wrong_window_between_headers_and_data_is_seen(increment: int) -> None:
    connection = greeted()
    update = frames.frame(frames.WINDOW_UPDATE, 0, 1, increment.to_bytes(4, "big"))
    events, complete = connection.receive(headers(1) + update + data(1, b"ab", end=True))
    assert not complete
    assert any(isinstance(event, Reset) for event in events)


def test_a_window_between_headers_and_data_that_overflows_is_seen() -> None:
    connection = greeted()
    connection.receive(frames.settings({frames.INITIAL_WINDOW_SIZE: (1 << 31) - 1}))
    events, complete = connection.receive(headers(1) + frames.window_update(1, 1) + data(1, b"ab", end=True))
    assert not complete
    assert any(isinstance(event, Reset) for event in events)


def test_settings_that_overflow_the_window_of_a_complete_request_are_seen() -> None:
    connection = greeted()
    update, larger = frames.window_update(1, 1000), frames.settings({frames.INITIAL_WINDOW_SIZE: (1 << 31) - 1})
    connection.receive(headers(1) + update + data(1, b"ab", end=True) + larger)
    assert connection.fault is not None
    assert connection.fault.code is ErrorCode.FLOW_CONTROL_ERROR


@pytest.mark.parametrize(
    ("limits", "parts", "limit", "code"),
    [
        ({"resets_burst": 5}, [headers(n) + frames.rst_stream(n, 8) for n in range(1, 15, 2)], "resets", 11),
        ({"resets_burst": 5}, [headers(n) + data(n, b"", end=True) + frames.rst_stream(n, 8) for n in range(1, 15, 2)],
         "resets", 11),
        ({"resets_burst": 5}, [headers(n, fields=block([(b"a", b"b")])) for n in range(1, 15, 2)], "resets", 11),
        ({"controls_burst": 5}, [frames.frame(frames.PING, 0, 0, b"12345678")] * 7, "controls", 11),
        ({"controls_burst": 5}, [frames.frame(frames.PING, frames.ACK, 0, b"12345678")] * 7, "controls", 11),
        ({"controls_burst": 5}, [frames.settings({4: 100})] * 7, "controls", 11),
        ({"controls_burst": 5}, [frames.SETTINGS_ACK] * 7, "controls", 11),
        ({"controls_burst": 5}, [frames.frame(frames.PRIORITY, 0, 1, b"\0\0\0\3\1")] * 7, "controls", 11),
        ({"controls_burst": 5}, [frames.frame(0xFA, 0, 1, b"x")] * 7, "controls", 11),
        ({"empties_burst": 5}, [headers(1), *[data(1, b"")] * 7], "empties", 11),
        ({"updates_burst": 5}, [frames.window_update(0, 1)] * 7, "updates", 11),
        ({"continuations": 3}, [frames.frame(1, 0, 1, b"\x82"), *[frames.frame(9, 0, 1, b"\x82")] * 5],
         "continuations", 11),
        ({}, [frames.frame(1, 0, 1, b"x" * 10_000), frames.frame(9, 0, 1, b"x" * 10_000)], "header_list_bytes", 11),
        ({"header_list_bytes": 100}, [headers(1, fields=block([*FIELDS, (b"a", b"b" * 200)]))],
         "header_list_bytes", 11),
    ],
)  # fmt: skip
def test_a_peer_that_makes_us_work_for_nothing_is_sent_away(
    limits: dict[str, int], parts: list[bytes], limit: str, code: int
) -> None:
    slow = {name.replace("_burst", "_per_s"): 0 for name in limits if name.endswith("_burst")}
    connection = greeted(replace(DEFAULT, **limits, **slow))
    assert strikes(connection, *parts) == [limit]
    assert connection.closed
    assert connection.fault is not None
    assert connection.fault.code == code
    assert frames.goaway(connection.session.last_id, code)[9:17] in connection.take()
    assert connection.receive(headers(101))[1] == {}


def test_a_peer_that_gives_some_of_its_many_calls_up_stays() -> None:
    connection = greeted(replace(DEFAULT, resets_burst=5, resets_per_s=0))
    for number in range(1, 1_001, 2):
        given_up = number % 24 == 1
        _, complete = connection.receive(
            headers(number) + data(number, b"ab", end=True) + (frames.rst_stream(number, 8) if given_up else b"")
        )
        assert bool(complete) != given_up
    assert not connection.closed


def test_a_peer_that_measures_the_path_with_every_call_stays() -> None:
    connection = greeted(replace(DEFAULT, controls_burst=5, controls_per_s=0))
    for number in range(1, 101, 2):
        _, complete = connection.receive(
            headers(number) + data(number, b"ab", end=True) + frames.frame(frames.PING, 0, 0, b"12345678")
        )
        assert list(complete) == [number]
    assert not connection.closed


def kept(increment: int = 0, limits: ConnectionLimits = DEFAULT) -> Connection:
    """A connection with a request that is answered later."""
    connection = greeted(limits)
    update = frames.window_update(1, increment) if increment else b""
    connection.receive(headers(1) + update + data(1, b"ab", end=True))
    connection.keep(1, "owner")
    connection.receive(frames.frame(frames.PING, 0, 0, b"12345678"))
    connection.take()
    return connection


def test_a_request_that_is_answered_later_is_a_stream_once_something_happens_to_it() -> None:
    connection = kept(1000)
    assert connection.busy
    assert not connection.streams
    connection.receive(frames.window_update(1, 500))
    assert connection.streams[1].owner == "owner"
    assert connection.streams[1].window == 65_535 + 1000 + 500
    connection.outbox.headers(connection.streams[1], REQUEST, end=True)
    assert not connection.busy


def test_a_reset_tells_who_answers_later() -> None:
    connection = kept()
    events, _ = connection.receive(frames.rst_stream(1, 8))
    assert [(type(event), event.stream.owner) for event in events if isinstance(event, Reset)] == [(Reset, "owner")]
    assert not connection.busy


def test_settings_count_for_the_windows_of_requests_that_are_answered_later() -> None:
    connection = kept()
    connection.receive(frames.settings({frames.INITIAL_WINDOW_SIZE: 7}))
    assert connection.adopt(1).window == 7
    connection = kept(1000)
    connection.receive(frames.settings({frames.INITIAL_WINDOW_SIZE: (1 << 31) - 1}))
    assert connection.fault is not None
    assert connection.fault.code is ErrorCode.FLOW_CONTROL_ERROR


def test_requests_that_are_answered_later_count_as_streams() -> None:
    connection = kept(limits=replace(DEFAULT, concurrent_streams=2))
    assert strikes(connection, headers(3), headers(5) + data(5, b"", end=True)) == ["concurrent_streams"]


@pytest.mark.parametrize("frame", [data(1, b"c", end=True), headers(1, end=True)])
def test_nothing_may_follow_a_request_that_is_answered_later(frame: bytes) -> None:
    connection = kept()
    events, _ = connection.receive(frame)
    assert [event.code for event in events if isinstance(event, Reset)] == [ErrorCode.STREAM_CLOSED]


def test_one_stream_too_many_is_refused_and_the_others_go_on() -> None:
    connection = greeted(replace(DEFAULT, concurrent_streams=3))
    calls = b"".join(headers(n) + data(n, b"x", end=True) for n in (1, 3, 5, 7))
    events, complete = connection.receive(headers(9) + calls)
    assert not connection.closed or events
    connection = greeted(replace(DEFAULT, concurrent_streams=3))
    events, complete = connection.receive(calls)
    assert list(complete) == [1, 3, 5]
    assert events == [Struck("concurrent_streams")]
    assert frames.rst_stream(7, ErrorCode.REFUSED_STREAM) in connection.take()


def test_what_is_buffered_is_bounded() -> None:
    connection = greeted(replace(DEFAULT, buffered_bytes=20_000))
    connection.receive(headers(1))
    assert strikes(connection, data(1, b"x" * 16_000), data(1, b"x" * 16_000)) == ["buffered_bytes"]
    assert not connection.closed
    assert connection.session.buffered == 0
    connection.receive(headers(3))
    stream = connection.streams[3]
    connection.receive(data(3, b"x" * 15_000))
    connection.consumed(stream, 15_000)
    assert strikes(connection, data(3, b"x" * 15_000)) == []


@pytest.mark.parametrize(
    ("sent", "limit", "code"),
    [
        (frames.frame(frames.DATA, 0, 1, bytes(16_385)), "frame_bytes", ErrorCode.FRAME_SIZE_ERROR),
        (headers(1, fields=b"\x3f\xe2\x1f" + block(FIELDS)), "header_table_bytes", ErrorCode.COMPRESSION_ERROR),
    ],
)
def test_what_was_never_offered_is_a_fault(sent: bytes, limit: str, code: ErrorCode) -> None:
    connection = greeted()
    assert strikes(connection, sent) == [limit]
    assert connection.fault is not None
    assert connection.fault.code is code


def test_a_peer_that_ignores_our_windows_is_told_so() -> None:
    small = replace(DEFAULT, stream_window=1_000, connection_window=70_000)
    connection = greeted(small)
    events, _ = connection.receive(headers(1) + data(1, b"x" * 1_001))
    assert [event.code for event in events if isinstance(event, Reset)] == [ErrorCode.FLOW_CONTROL_ERROR]
    assert Struck("stream_window") in events
    events, complete = connection.receive(headers(3) + data(3, b"x" * 1_001, end=True))
    assert ([event.code for event in events if isinstance(event, Reset)], complete) == (
        [ErrorCode.FLOW_CONTROL_ERROR],
        {},
    )
    flood = b"".join(headers(n) + data(n, b"x" * 1_000, end=True) for n in range(5, 157, 2))
    assert strikes(connection, flood) == ["connection_window"]
    assert connection.closed
    assert connection.fault is not None
    assert connection.fault.code is ErrorCode.FLOW_CONTROL_ERROR


def test_an_answer_larger_than_every_window_arrives_as_the_peer_takes_it() -> None:
    joined = Joined()
    joined.request(1, end=True)
    joined.exchange()
    stream = next(event.stream for event in joined.events if isinstance(event, Opened))
    answer = bytes(range(256)) * 2_000
    joined.ours.outbox.headers(stream, block([(b":status", b"200")]), end=False)
    joined.ours.outbox.data(stream, answer)
    joined.exchange()
    assert stream.queued > 0
    joined.ours.outbox.close(stream, block([(b"grpc-status", b"0")]))
    while not any(isinstance(event, h2.events.StreamEnded) for event in joined.told):
        for event in joined.told:
            if isinstance(event, h2.events.DataReceived) and event.flow_controlled_length:
                joined.peer.acknowledge_received_data(event.flow_controlled_length, 1)
                event.flow_controlled_length = 0
        joined.exchange()
    assert b"".join(event.data for event in joined.told if isinstance(event, h2.events.DataReceived)) == answer
    assert not joined.ours.streams
    assert joined.ours.outbox.queued == 0


def test_streams_share_the_connections_window() -> None:
    connection = greeted()
    connection.receive(frames.settings({frames.INITIAL_WINDOW_SIZE: 1 << 20}))
    connection.receive(headers(1, end=True) + headers(3, end=True))
    for stream in tuple(connection.streams.values()):
        connection.outbox.headers(stream, REQUEST, end=False)
        connection.outbox.data(stream, b"x" * 200_000)
    connection.take()
    for _ in range(4):
        connection.receive(frames.window_update(0, 40_000))
    assert all(stream.queued < 200_000 for stream in connection.streams.values())
    events, _ = connection.receive(frames.window_update(0, 1 << 20))
    assert len([event for event in events if isinstance(event, Writable)]) == 2


def test_what_goes_out_at_once_is_no_event() -> None:
    connection = greeted()
    events, _ = connection.receive(headers(1))
    stream = connection.streams[1]
    connection.outbox.headers(stream, REQUEST, end=False)
    before = list(events)
    for _ in range(1000):
        connection.outbox.data(stream, b"x")
    assert events == before
    connection.outbox.data(stream, b"x" * 65_535)
    assert stream.queued == 1000
    events, _ = connection.receive(frames.window_update(0, 1000) + frames.window_update(1, 1000))
    assert events == [Writable(stream)]


def test_an_end_is_announced_before_it_comes() -> None:
    joined = Joined()
    joined.request(1)
    joined.exchange()
    joined.ours.warn()
    joined.request(3, end=True)  # was on its way
    joined.exchange()
    assert sorted(joined.ours.streams) == [1, 3]
    joined.ours.refuse()
    raw = joined.ours.take()
    assert frames.goaway(3, 0)[9:17] in raw
    joined.ours.receive(headers(5, end=True) + data(5, b"x"))
    assert sorted(joined.ours.streams) == [1, 3]
    assert not joined.ours.closed


@pytest.mark.parametrize(
    "text", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\0", b"PRI * HTTP/2.0\r\n\r\nXX"]
)
def test_what_is_not_http2_is_sent_away(text: bytes) -> None:
    connection = server()
    connection.receive(text)
    assert connection.closed


def test_nothing_but_settings_may_come_first() -> None:
    connection = server()
    connection.receive(frames.PREFACE + headers(1, end=True))
    assert connection.closed
    assert not connection.streams
