"""Answers that need no waiting, whatever the windows and however many requests one read brings."""

import asyncio
import gc
import weakref
from collections.abc import Callable, Sequence
from random import Random
from typing import cast

import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from serving.errors import UnavailableError
from serving.recommend.ready import Ready
from serving.rpc.native.exchange import Exchange
from serving.rpc.native.heads import HeadReader
from serving.rpc.native.house import House
from serving.rpc.native.limits import read_limits
from serving.rpc.native.pending import Pending
from serving.rpc.native.routes import routes
from serving.telemetry.metrics import Metrics
from tests.rpc.native.scenes import Stage

HEAD = [
    (":method", "POST"), (":scheme", "http"), (":authority", "here"),
    ("content-type", "application/grpc"), ("te", "trailers"),
]  # fmt: skip


class Client:
    """Of the library `h2`, joined to an exchange without a socket."""

    def __init__(self, window: int, most: int = 1 << 20) -> None:
        self.registry = CollectorRegistry()
        metrics = Metrics(self.registry)
        self.stage = Stage()
        self.house = House(routes(self.stage.methods(), metrics), read_limits({}), metrics, most)
        self.exchange = Exchange(self.house, HeadReader(self.house.routes, "ipv4:127.0.0.1:1", None), lambda: None)
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding=None))
        self.h2.initiate_connection()
        self.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window})
        self.bodies: dict[int, bytes] = {}
        self.statuses: dict[int, str] = {}
        self.carry()

    def ask(self, message: bytes, more: Sequence[tuple[str, str]] = (), name: str = "Now") -> int:
        """Send a request with the next bytes; return its stream."""
        stream: int = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, [*HEAD[:2], (":path", f"/t.T/{name}"), *HEAD[2:], *more])
        self.h2.send_data(stream, b"\0" + len(message).to_bytes(4, "big") + message, end_stream=True)
        return stream

    def carry(self) -> None:
        """All bytes there are, both ways, with as many windows as it takes."""
        while (data := self.h2.data_to_send()) or self.exchange.connection.outbox.chunks:
            self.exchange.read(data, 0.0)
            for event in self.h2.receive_data(self.exchange.connection.take()):
                if isinstance(event, h2.events.DataReceived):
                    self.bodies[event.stream_id] = self.bodies.get(event.stream_id, b"") + event.data
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.TrailersReceived | h2.events.ResponseReceived):
                    found = {bytes(name): bytes(value) for name, value in event.headers}
                    if b"grpc-status" in found:
                        self.statuses[event.stream_id] = found[b"grpc-status"].decode()

    def settled(self) -> bool:
        """Whether nothing is kept of any call."""
        kept = self.exchange.connection.busy or self.exchange.calls
        return not kept and self.house.running == self.house.streaming == self.house.buffered == 0


def played(scene: Callable[[], None]) -> None:
    async def run() -> None:
        scene()

    asyncio.run(run())


@given(
    st.lists(st.binary(max_size=2000).filter(lambda message: b"later" not in message), min_size=1, max_size=40),
    st.sampled_from([0, 1, 100, 1000, 65_535]),
)
def test_each_request_of_a_read_gets_its_answer_whatever_the_windows(messages: list[bytes], window: int) -> None:
    def scene() -> None:
        client = Client(window)
        asked = {client.ask(message): message for message in messages}
        client.carry()
        if not window:
            for stream in asked:
                client.h2.increment_flow_control_window(1 << 20, stream)
            client.carry()
        assert {stream: body[5:] for stream, body in client.bodies.items()} == asked
        assert set(client.statuses.items()) == {(stream, "0") for stream in asked}
        assert not client.exchange.connection.busy
        assert client.house.buffered == client.exchange.connection.outbox.queued == 0
        client.house.flush()
        labels = {"method": "Now", "code": "OK"}
        assert client.registry.get_sample_value("nearline_requests_total", labels) == len(asked)

    played(scene)


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ([("grpc-timeout", "1S")], "0"),
        ([("grpc-timeout", "100u"), ("traceparent", "00-1-1-01")], "0"),
        ([("grpc-timeout", "0S")], "4"),
        ([("grpc-timeout", "00000000n")], "4"),
        ([("grpc-timeout", "01S")], "0"),
        ([("grpc-timeout", "soon")], "3"),
        ([("grpc-timeout", "123456789S")], "3"),
        ([("x-bin", "%")], "3"),
    ],
)
def test_what_differs_from_call_to_call_is_looked_at_each_time(more: list[tuple[str, str]], status: str) -> None:
    def scene() -> None:
        client = Client(65_535)
        plain, other = client.ask(b"a"), client.ask(b"a", more)
        client.carry()
        again = client.ask(b"a", more)
        client.carry()
        assert client.statuses == {plain: "0", other: status, again: status}

    played(scene)


@given(st.lists(st.binary(max_size=2000), min_size=1, max_size=20), st.sampled_from([0, 1, 1000, 65_535]), st.randoms())
def test_answers_that_come_later_find_their_requests_in_whatever_order_they_come(
    messages: list[bytes], window: int, random: Random
) -> None:
    def scene() -> None:
        client = Client(window)
        asked = {client.ask(message, name="Soon"): message for message in messages if b"refused" not in message}
        client.carry()
        random.shuffle(client.stage.waiting)
        for message, answering in client.stage.waiting:
            answering.give(message)
        client.carry()
        if not window:
            for stream in asked:
                client.h2.increment_flow_control_window(1 << 20, stream)
            client.carry()
        assert {stream: body[5:] for stream, body in client.bodies.items()} == asked
        assert set(client.statuses.items()) == {(stream, "0") for stream in asked}
        assert sorted(client.stage.abandoned) == sorted(asked.values())
        client.exchange.account()
        assert client.settled()

    played(scene)


@pytest.mark.parametrize("window", [1, 1000, 65_535])
def test_an_answer_that_is_there_is_asked_for_once_whatever_the_windows(window: int) -> None:
    """Whoever gives it counts it."""

    def scene() -> None:
        client = Client(window)
        route = client.house.routes[b"/t.T/Now"]
        now, seen = route.now, list[bytes]()
        assert now is not None

        def counting(requests: Sequence[bytes]) -> Sequence[Ready | None]:
            seen.extend(requests)
            return now(requests)

        route.now, route.soon = counting, client.stage.begin
        asked = [client.ask(message * 500) for message in (b"a", b"b", b"c")]
        client.carry()
        assert seen == [b"a" * 500, b"b" * 500, b"c" * 500]
        assert client.stage.waiting == []
        assert client.statuses == dict.fromkeys(asked, "0")
        assert [client.bodies[stream][5:] for stream in asked] == seen
        assert client.settled()

    played(scene)


def test_a_request_without_a_message_is_no_empty_message() -> None:
    async def scene() -> None:
        client = Client(65_535)
        streams = []
        for size in range(6):
            streams.append(client.h2.get_next_available_stream_id())
            client.h2.send_headers(streams[-1], [*HEAD[:2], (":path", "/t.T/Now"), *HEAD[2:]])
            client.h2.send_data(streams[-1], b"\0" * size, end_stream=True)
        client.carry()
        assert [client.statuses[stream] for stream in streams] == ["13"] * 5 + ["0"], "a prefix has 5 bytes"

    asyncio.run(scene())


@pytest.mark.parametrize("name", ["Now", "Soon"])
def test_a_message_that_is_as_large_as_a_frame_needs_no_call_of_its_own(name: str) -> None:
    def scene() -> None:
        client = Client(1 << 20)
        asked = client.ask(b"a" * (16_384 - 5), name=name)
        client.carry()
        for message, answering in client.stage.waiting:
            answering.give(message)
        client.carry()
        assert client.bodies[asked][5:] == b"a" * (16_384 - 5)
        assert client.settled()

    played(scene)


@pytest.mark.parametrize("name", ["Now", "Soon"])
def test_a_message_that_is_too_large_is_refused_although_it_came_whole(name: str) -> None:
    def scene() -> None:
        client = Client(65_535, most=1000)
        fits, too_large = client.ask(b"a" * 1000, name=name), client.ask(b"a" * 1001, name=name)
        client.carry()
        for message, answering in client.stage.waiting:
            answering.give(message)
        client.carry()
        assert client.statuses == {fits: "0", too_large: "8"}
        labels = {"limit": "max_message_bytes"}
        assert client.registry.get_sample_value("nearline_rpc_limits_total", labels) == 1

    played(scene)


def test_what_ends_a_call_that_is_answered_later_ends_it_once() -> None:
    def scene() -> None:
        client = Client(65_535)
        refused, failed, reset, given = (client.ask(b"refused" if n == 0 else b"%d" % n, name="Soon") for n in range(4))
        client.carry()
        assert client.statuses == {refused: "3"}
        waiting = dict(client.stage.waiting)
        client.h2.reset_stream(reset)
        client.carry()
        assert client.stage.abandoned == [b"2"]
        waiting[b"1"].fail(UnavailableError("away"))
        for answering in waiting.values():
            answering.give(b"late, but for one")
            answering.fail(UnavailableError("late"))
        client.carry()
        assert client.statuses == {refused: "3", failed: "14", given: "0"}
        assert client.bodies == {given: b"\0\0\0\0\x11late, but for one"}
        assert sorted(client.stage.abandoned) == [b"1", b"2", b"3"]
        assert client.settled()

    played(scene)


def test_a_connection_that_ends_abandons_what_is_to_be_answered_later() -> None:
    def scene() -> None:
        client = Client(65_535)
        for n in range(3):
            client.ask(b"%d" % n, name="Soon")
        client.carry()
        client.exchange.cancel_all()
        assert sorted(client.stage.abandoned) == [b"0", b"1", b"2"]
        assert client.house.running == 0

    played(scene)


def test_a_deadline_ends_a_call_that_is_answered_later() -> None:
    async def scene() -> None:
        client = Client(65_535)
        asked = client.ask(b"a", [("grpc-timeout", "1m")], name="Soon")
        client.carry()
        while not client.statuses:
            await asyncio.sleep(0.001)
            client.carry()
        assert client.statuses == {asked: "4"}
        assert client.stage.abandoned == [b"a"]
        assert client.settled()

    asyncio.run(scene())


def test_calls_beyond_the_limit_are_shed_before_they_are_answered_later() -> None:
    def scene() -> None:
        client = Client(65_535)
        most = client.house.limits.running_calls
        client.house.running = most
        shed = client.ask(b"a", name="Soon")
        client.carry()
        assert (client.statuses, client.stage.waiting) == ({shed: "8"}, [])
        assert client.house.running == most

    played(scene)


@pytest.mark.parametrize(("kind", "body"), [("application/grpc", b"\2\0\0\0\0"), ("text/plain", b"x")])
def test_a_request_whose_end_and_reset_come_in_one_read_is_gone(kind: str, body: bytes) -> None:
    def scene() -> None:
        client = Client(65_535)
        stream = client.h2.get_next_available_stream_id()
        fields = [(n, kind if n == "content-type" else v) for n, v in HEAD]
        client.h2.send_headers(stream, [*fields[:2], (":path", "/t.T/Echo"), *fields[2:]])
        client.carry()
        client.h2.send_data(stream, body, end_stream=True)
        client.h2.reset_stream(stream)
        client.carry()
        assert client.settled()
        other = client.ask(b"a")
        client.carry()
        assert client.statuses == {other: "0"}

    played(scene)


def test_an_answer_that_is_there_is_not_sent_to_a_stream_that_was_reset_in_the_same_read() -> None:
    def scene() -> None:
        client = Client(0)
        stream = client.h2.get_next_available_stream_id()
        client.h2.send_headers(stream, [*HEAD[:2], (":path", "/t.T/Now"), *HEAD[2:]])
        client.carry()
        client.h2.send_data(stream, b"\0\0\0\0\1a", end_stream=True)
        client.h2.reset_stream(stream)
        client.carry()
        client.exchange.account()
        assert client.settled()
        assert client.exchange.connection.outbox.queued == 0

    played(scene)


def test_a_defect_of_an_answer_without_waiting_is_an_error_of_that_call_alone() -> None:
    def scene() -> None:
        client = Client(65_535)
        route = client.house.routes[b"/t.T/Now"]

        def broken(_requests: Sequence[bytes]) -> list[Ready | None]:
            raise ZeroDivisionError

        route.now = broken
        asked = client.ask(b"a", name="Now")
        client.ask(b"b", name="Soon")
        client.carry()
        assert client.statuses == {asked: "13"}
        assert [message for message, _ in client.stage.waiting] == [b"b"]
        client.exchange.cancel_all()

    played(scene)


def test_nothing_of_a_call_is_left_for_the_garbage_collector() -> None:
    def scene() -> None:
        client = Client(65_535)
        client.ask(b"a", name="Soon")
        client.carry()
        ((message, answering),) = client.stage.waiting
        client.stage.waiting.clear()
        pending = weakref.ref(cast("Pending", answering))
        gc.disable()
        try:
            answering.give(message)
            del answering
            client.carry()
            assert pending() is None
        finally:
            gc.enable()

    played(scene)
