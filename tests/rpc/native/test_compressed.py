"""Compressed requests: small on the way, large once they are read, which is one at a time."""

import asyncio
import tracemalloc

from prometheus_client import CollectorRegistry

from serving.rpc.http2 import frames
from serving.rpc.http2.literals import block
from serving.rpc.native.exchange import Exchange
from serving.rpc.native.heads import HeadReader
from serving.rpc.native.house import House
from serving.rpc.native.limits import read_limits
from serving.rpc.native.messages import PREFIX, compress
from serving.rpc.native.routes import routes
from serving.telemetry.metrics import Metrics
from tests.rpc.native.scenes import HELLO, Stage

LARGE = 4_000_000
MESSAGES = 50


def exchange_of(on: Stage) -> Exchange:
    metrics = Metrics(CollectorRegistry())
    house = House(routes(on.methods(), metrics), read_limits({}), metrics, LARGE + 100)
    return Exchange(house, HeadReader(house.routes, "ipv4:127.0.0.1:1", None), lambda: None)


def call(path: bytes, messages: int) -> bytes:
    """A call with so many compressed messages."""
    fields = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", path), (b"content-type", b"application/grpc")]
    head = frames.headers(1, block([*fields, (b"grpc-encoding", b"gzip")]), end=False, frame_bytes=1 << 14)
    length = bytes((LARGE & 127 | 128, LARGE >> 7 & 127 | 128, LARGE >> 14 & 127 | 128, LARGE >> 21))
    message = compress(b"\x0a" + length + bytes(LARGE), b"gzip")
    body = (PREFIX.pack(1, len(message)) + message) * messages
    parts = [frames.frame(frames.DATA, 0, 1, body[at : at + 16_000]) for at in range(0, len(body), 16_000)]
    return HELLO + head + b"".join(parts) + frames.frame(frames.DATA, frames.END_STREAM, 1, b"")


def test_messages_that_wait_for_their_handler_stay_as_small_as_they_came() -> None:
    async def scene() -> None:
        on = Stage()
        exchange, sent = exchange_of(on), call(b"/t.T/Measure", MESSAGES)
        tracemalloc.start()
        try:
            exchange.read(sent, 0.0)
            await on.started.get()
            assert tracemalloc.get_traced_memory()[1] < LARGE, "none is decompressed before it is taken"
            assert exchange.connection.session.buffered > 0
            on.release.set()
            written = b""
            while b"grpc-status" not in written:
                await asyncio.sleep(0)
                written += exchange.connection.take()
            assert written.count(str(LARGE).encode()) == MESSAGES
            assert tracemalloc.get_traced_memory()[1] < MESSAGES * LARGE / 4, "they are never all there at once"
        finally:
            tracemalloc.stop()
        assert exchange.connection.session.buffered == 0

    asyncio.run(scene())


def test_a_second_message_of_a_unary_call_is_refused_before_any_is_decompressed() -> None:
    async def scene() -> None:
        exchange, sent = exchange_of(Stage()), call(b"/t.T/Echo", MESSAGES)
        tracemalloc.start()
        try:
            exchange.read(sent, 0.0)
            assert tracemalloc.get_traced_memory()[1] < LARGE
        finally:
            tracemalloc.stop()
        assert b"request: expected one message" in exchange.connection.take()

    asyncio.run(scene())


def test_what_cannot_be_decompressed_ends_a_stream_with_a_status() -> None:
    async def scene() -> None:
        on = Stage()
        on.release.set()
        exchange = exchange_of(on)
        broken = call(b"/t.T/Measure", 1).replace(b"\x1f\x8b", b"\x1f\x8c")
        exchange.read(broken, 0.0)
        written = b""
        while b"grpc-status" not in written:
            await asyncio.sleep(0)
            written += exchange.connection.take()
        assert b"message: expected gzip data" in written

    asyncio.run(scene())
