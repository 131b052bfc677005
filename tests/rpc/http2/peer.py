"""A client made of the library `h2`, joined to our connection without a socket."""

import re
from collections.abc import Sequence
from typing import Any

import h2.config
import h2.connection
import h2.events

from serving.rpc.http2.blocks import HeaderBlocks
from serving.rpc.http2.connection import Connection
from serving.rpc.http2.events import Event
from serving.rpc.http2.hpack import Field, best_decoder
from serving.rpc.http2.limits import ConnectionLimits
from serving.rpc.http2.literals import fields

HEADERS = [(":method", "POST"), (":scheme", "http"), (":path", "/a/B"), (":authority", "here"), ("te", "trailers")]


class Plain:
    """Leaves fields as they are."""

    varying = frozenset((b"grpc-timeout",))
    usual = re.compile(b"(?!)").fullmatch

    def read(self, fields: Sequence[Field]) -> list[tuple[bytes, bytes]]:
        return [(name, value) for name, value, _ in fields]

    def refine(self, head: list[tuple[bytes, bytes]], fields: Sequence[Field]) -> list[tuple[bytes, bytes]]:
        return head + self.read(fields)

    def extend(self, head: list[tuple[bytes, bytes]], end: bytes) -> list[tuple[bytes, bytes]]:
        return self.refine(head, fields(end))


def server(limits: ConnectionLimits | None = None) -> Connection:
    limits = limits or ConnectionLimits()
    return Connection(
        limits, HeaderBlocks(best_decoder()(limits.header_table_bytes, limits.header_list_bytes), Plain())
    )


class Joined:
    """Both ends, and all that each told."""

    def __init__(self, limits: ConnectionLimits | None = None) -> None:
        self.ours = server(limits)
        self.peer = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding=None))
        self.events: list[Event] = []
        self.complete: dict[int, tuple[Any, bytes, int]] = {}
        self.told: list[h2.events.Event] = []
        self.peer.initiate_connection()
        self.exchange()

    def exchange(self, sizes: Sequence[int] = ()) -> None:
        """Carry bytes both ways until there are none; to us in pieces of these sizes."""
        cuts = list(sizes)
        while True:
            data, back = self.peer.data_to_send(), self.ours.take()
            if not data and not back:
                return
            while data:
                size = max(1, cuts.pop()) if cuts else len(data)
                self.feed(data[:size])
                data = data[size:]
            if back:
                self.told += self.peer.receive_data(back)

    def feed(self, data: bytes) -> None:
        """Let us read, and keep what comes of it; complete requests become streams."""
        events, complete = self.ours.receive(data)
        self.events += events
        for stream_id, whole in complete.items():
            self.complete[stream_id] = whole
            self.ours.adopt(stream_id)

    def request(self, stream_id: int, *, end: bool = False) -> None:
        self.peer.send_headers(stream_id, HEADERS, end_stream=end)
