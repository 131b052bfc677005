"""Whatever bytes come: nothing is raised, nothing is kept, and what is answered is HTTP/2."""

import asyncio
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from serving.rpc.http2 import frames
from serving.rpc.http2.literals import block
from serving.rpc.native.exchange import Exchange
from serving.rpc.native.heads import HeadReader
from serving.rpc.native.house import House
from serving.rpc.native.limits import read_limits
from serving.rpc.native.routes import routes
from serving.telemetry.metrics import Metrics
from tests.rpc.native.scenes import HELLO, Stage, kinds

PATHS = st.sampled_from(
    [b"/t.T/Echo", b"/t.T/Now", b"/t.T/Hold", b"/t.T/Soon", b"/t.T/Measure", b"/t.T/Admin", b"/t.T/No", b"*", b"/"]
)
NAMES = st.sampled_from(
    [b"content-type", b"te", b"grpc-timeout", b"grpc-encoding", b"grpc-accept-encoding", b"x-bin", b"traceparent",
     b"content-length", b"authorization", b"user-agent", b"connection", b":path", b"X"]
)  # fmt: skip
VALUES = st.sampled_from(
    [b"application/grpc", b"application/grpc+proto", b"trailers", b"1S", b"0n", b"99999999H", b"gzip", b"snappy",
     b"AA==", b"%%%", b"0", b"7", b"\xff\xfe", b" x", b"a\0b", b""]
)  # fmt: skip
BLOCKS = st.builds(
    lambda path, more: block(
        [(b":method", b"POST"), (b":scheme", b"http"), (b":path", path), (b"content-type", b"application/grpc"), *more]
    ),
    PATHS,
    st.lists(st.tuples(NAMES, VALUES), max_size=4),
)
STREAMS = st.sampled_from([0, 1, 1, 3, 3, 5, 7, 2, 9, (1 << 31) - 1])
BODIES = st.sampled_from(
    [b"", bytes(5), b"\0\0\0\0\2\x0a\0", b"\0\0\0\0\2\xff\xff", b"\1\0\0\0\3abc", b"\2\0\0\0\0",
     b"\0\xff\xff\xff\xff", b"\0\0"]
) | st.binary(max_size=20)  # fmt: skip
WORDS = st.sampled_from([0, 1, 8, 65_535, 1 << 30, (1 << 31) - 1, (1 << 32) - 1])
SHORT = st.binary(max_size=9)
WHOLE = st.builds(
    lambda stream, head, body: (
        frames.frame(frames.HEADERS, frames.END_HEADERS, stream, head)
        + frames.frame(frames.DATA, frames.END_STREAM, stream, body)
    ),
    STREAMS,
    BLOCKS,
    BODIES,
)
FRAMES = st.one_of(
    WHOLE,
    st.builds(frames.frame, st.just(frames.HEADERS), st.sampled_from([0, 1, 4, 5, 12, 36, 45]), STREAMS, BLOCKS),
    st.builds(frames.frame, st.just(frames.CONTINUATION), st.sampled_from([0, 4]), STREAMS, BLOCKS | SHORT),
    st.builds(frames.frame, st.just(frames.DATA), st.sampled_from([0, 1, 8, 9]), STREAMS, BODIES),
    st.builds(frames.window_update, STREAMS, WORDS),
    st.builds(frames.rst_stream, STREAMS, WORDS),
    st.builds(lambda name, value: frames.settings({name: value}), st.integers(0, 9), WORDS),
    st.builds(frames.frame, st.integers(0, 12), st.integers(0, 255), STREAMS, st.binary(max_size=12)),
    st.binary(max_size=30),
)  # fmt: skip


@settings(max_examples=300)
@given(st.lists(FRAMES, max_size=20), st.lists(st.integers(1, 200), max_size=20))
def test_no_bytes_are_too_much(sent: Sequence[bytes], cuts: Sequence[int]) -> None:
    async def scene() -> None:
        stage = Stage()
        metrics = Metrics(CollectorRegistry())
        house = House(routes(stage.methods(), metrics), read_limits({}), metrics, 1 << 20)
        exchange = Exchange(house, HeadReader(house.routes, "ipv4:127.0.0.1:1", None), lambda: None)
        data, written = HELLO + b"".join(sent), b""
        for cut in [*cuts, len(data)]:
            exchange.read(data[:cut], 0.0)
            written += exchange.connection.take()
            data = data[cut:]
            await asyncio.sleep(0)
        stage.release.set()
        for message, answering in stage.waiting:
            answering.give(message)
        for _ in range(5):
            await asyncio.sleep(0)
        exchange.cancel_all()
        written += exchange.connection.take()
        exchange.account()
        assert set(kinds(written)) <= set(range(10)) - {frames.PRIORITY, frames.PUSH_PROMISE}
        assert house.running == house.streaming == 0
        session = exchange.connection.session
        assert house.buffered == session.buffered + session.outbox.queued
        assert session.buffered == sum(stream.held for stream in session.streams.values())
        exchange.lost()
        for stream in session.streams.values():
            exchange.connection.consumed(stream, 1)
        exchange.account()
        assert house.buffered == 0

    asyncio.run(scene())
