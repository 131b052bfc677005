"""Answers that need no waiting, whatever the windows and however many requests one read brings."""

import asyncio
from collections.abc import Callable, Sequence

import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from serving.rpc.native.exchange import Exchange
from serving.rpc.native.heads import HeadReader
from serving.rpc.native.house import House
from serving.rpc.native.limits import read_limits
from serving.rpc.native.routes import routes
from serving.telemetry.metrics import Metrics
from tests.rpc.native.scenes import Stage

HEAD = [
    (":method", "POST"), (":scheme", "http"), (":path", "/t.T/Now"), (":authority", "here"),
    ("content-type", "application/grpc"), ("te", "trailers"),
]  # fmt: skip


class Client:
    """Of the library `h2`, joined to an exchange without a socket."""

    def __init__(self, window: int) -> None:
        self.registry = CollectorRegistry()
        metrics = Metrics(self.registry)
        self.stage = Stage()
        self.house = House(routes(self.stage.methods(), metrics), read_limits({}), metrics.rpc, 1 << 20)
        self.exchange = Exchange(self.house, HeadReader(self.house.routes, "ipv4:127.0.0.1:1", None), lambda: None)
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding=None))
        self.h2.initiate_connection()
        self.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window})
        self.bodies: dict[int, bytes] = {}
        self.statuses: dict[int, str] = {}
        self.carry()

    def ask(self, message: bytes, more: Sequence[tuple[str, str]] = ()) -> int:
        """Send a request with the next bytes; return its stream."""
        stream: int = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, [*HEAD, *more])
        self.h2.send_data(stream, b"\0" + len(message).to_bytes(4, "big") + message, end_stream=True)
        return stream

    def carry(self) -> None:
        """All bytes there are, both ways, with as many windows as it takes."""
        while data := self.h2.data_to_send():
            self.exchange.read(data, 0.0)
            for event in self.h2.receive_data(self.exchange.connection.take()):
                if isinstance(event, h2.events.DataReceived):
                    self.bodies[event.stream_id] = self.bodies.get(event.stream_id, b"") + event.data
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.TrailersReceived | h2.events.ResponseReceived):
                    found = {bytes(name): bytes(value) for name, value in event.headers}
                    if b"grpc-status" in found:
                        self.statuses[event.stream_id] = found[b"grpc-status"].decode()


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
        assert not client.exchange.connection.streams
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
