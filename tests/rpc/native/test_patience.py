"""Bytes that only the peer can move do not wait for ever; what waits for a handler does."""

import asyncio

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest

from serving.rpc.http2 import frames
from serving.rpc.http2.literals import block
from tests.rpc.native.scenes import HELLO, Clock, Stage, ask, play, read_all, stage

MESSAGE = b"\x0a\xa0\x1f" + b"z" * 4_000
BODY = b"\0" + len(MESSAGE).to_bytes(4, "big") + MESSAGE
NO_WINDOW = frames.settings({frames.INITIAL_WINDOW_SIZE: 10})
PING = frames.frame(frames.PING, 0, 0, bytes(8))
STALLED_S = 0.2


def head(path: bytes, kind: bytes = b"application/grpc") -> bytes:
    fields = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", path), (b"content-type", kind)]
    return frames.headers(1, block(fields), end=False, frame_bytes=1 << 14)


def call(path: bytes, body: bytes, *, ended: bool) -> bytes:
    return head(path) + frames.frame(frames.DATA, int(ended), 1, body)


async def outlast(on: Stage, clock: Clock) -> None:
    """Wait for as long as the server surely has no patience for."""
    async with grpc.aio.insecure_channel(on.address) as channel:
        for _ in range(8):
            assert (await ask(channel, "Echo", "others go on")).service
            await clock.forward(0.5 * STALLED_S)
        assert (await ask(channel, "Echo", "others go on")).service


@pytest.mark.parametrize(
    "sent",
    [
        NO_WINDOW + call(b"/t.T/Echo", BODY, ended=True),
        NO_WINDOW + call(b"/t.T/Now", BODY, ended=True),
        NO_WINDOW + call(b"/t.T/Flood", bytes(5), ended=True),
        call(b"/t.T/Echo", BODY[:-1], ended=False),
        call(b"/t.T/Measure", BODY[:-1], ended=False),
        head(b"/t.T/Echo"),
        head(b"/t.T/Now"),
        head(b"/t.T/Watch"),
        head(b"/t.T/Echo", b"text/plain"),
    ],
    ids=[
        "an answer",
        "a stored answer",
        "a stream",
        "a request",
        "a message",
        "headers",
        "headers of a stored answer",
        "headers of a stream",
        "headers of what is not gRPC",
    ],
)
@pytest.mark.parametrize("pings", [0, 1])
def test_a_peer_that_does_not_move_what_waits_for_it_is_dropped(sent: bytes, pings: int) -> None:
    async def scene() -> None:
        async with stage({"stalled_s": STALLED_S}) as on:
            reader, writer = await asyncio.open_connection("127.0.0.1", on.server.port)
            writer.write(HELLO + sent)
            ended = asyncio.ensure_future(read_all(reader))
            while not ended.done():
                writer.write(PING * pings)
                await asyncio.sleep(0.02)
            assert on.struck("stalled_s") == 1
            writer.close()
            house = on.server._house
            while house.buffered or house.running or house.streaming:  # noqa: ASYNC110 - a number tells nobody
                await asyncio.sleep(0.01)

    play(scene)


def test_a_peer_that_takes_a_little_now_and_then_stays() -> None:
    async def scene() -> None:
        clock = Clock()
        async with stage({"stalled_s": 1}, clock=clock) as on:
            reader, writer = await asyncio.open_connection("127.0.0.1", on.server.port)
            writer.write(HELLO + NO_WINDOW + call(b"/t.T/Echo", BODY, ended=True))
            for _ in range(20):
                await clock.forward(0.1)
                writer.write(frames.window_update(1, 100))
            writer.write(frames.window_update(1, 10_000))
            await reader.readuntil(b"grpc-status\x010")
            assert on.struck("stalled_s") == 0
            writer.close()

    play(scene)


@pytest.mark.parametrize(
    ("sent", "drop"),
    [
        (NO_WINDOW + call(b"/t.T/Echo", BODY, ended=True), frames.window_update(1, 1)),
        (call(b"/t.T/Echo", BODY[:100], ended=False), frames.frame(frames.DATA, 0, 1, b"z")),
    ],
    ids=["an answer", "a request"],
)
def test_a_peer_that_moves_drop_by_drop_is_dropped(sent: bytes, drop: bytes) -> None:
    async def scene() -> None:
        async with stage({"stalled_s": 0.5, "least_bytes_per_s": 1_000}) as on:
            reader, writer = await asyncio.open_connection("127.0.0.1", on.server.port)
            writer.write(HELLO + sent)
            ended = asyncio.ensure_future(read_all(reader))
            while not ended.done():
                writer.write(drop)
                await asyncio.sleep(0.02)
            assert on.struck("stalled_s") == 1
            writer.close()

    play(scene)


@pytest.mark.parametrize("cut", [0, 1_000])
def test_a_handler_may_take_its_time(cut: int) -> None:
    async def scene() -> None:
        clock = Clock()
        async with stage({"stalled_s": STALLED_S}, clock=clock) as on:
            reader, writer = await asyncio.open_connection("127.0.0.1", on.server.port)
            writer.write(HELLO + call(b"/t.T/Hold", BODY[:cut], ended=False))
            writer.write(frames.frame(frames.DATA, frames.END_STREAM, 1, BODY[cut:]))
            await on.started.get()
            await outlast(on, clock)
            on.release.set()
            await reader.readuntil(b"grpc-status\x010")
            assert on.struck("stalled_s") == 0
            writer.close()

    play(scene)


@pytest.mark.parametrize("ended", [False, True])
def test_messages_that_a_handler_has_not_taken_are_no_fault_of_the_peer(ended: bool) -> None:
    async def scene() -> None:
        clock = Clock()
        async with stage({"stalled_s": STALLED_S}, clock=clock) as on:
            reader, writer = await asyncio.open_connection("127.0.0.1", on.server.port)
            writer.write(HELLO + call(b"/t.T/Measure", BODY * 2, ended=ended))
            await on.started.get()
            await outlast(on, clock)
            on.release.set()
            assert (await reader.readuntil(b"4000")).endswith(b"4000")
            assert on.struck("stalled_s") == 0
            writer.close()

    play(scene)


@pytest.mark.parametrize("body", [b"", BODY], ids=["before a message", "after one"])
def test_a_stream_of_requests_may_be_silent_between_them(body: bytes) -> None:
    async def scene() -> None:
        clock = Clock()
        async with stage({"stalled_s": STALLED_S}, clock=clock) as on:
            on.release.set()
            reader, writer = await asyncio.open_connection("127.0.0.1", on.server.port)
            writer.write(HELLO + call(b"/t.T/Measure", body, ended=False))
            await on.started.get()
            await outlast(on, clock)
            writer.write(frames.frame(frames.DATA, frames.END_STREAM, 1, BODY))
            await reader.readuntil(b"grpc-status\x010")
            assert on.struck("stalled_s") == 0
            writer.close()

    play(scene)


def test_a_watch_may_be_silent() -> None:
    async def scene() -> None:
        clock = Clock()
        async with (
            stage({"stalled_s": STALLED_S}, clock=clock) as on,
            grpc.aio.insecure_channel(on.address) as channel,
        ):
            watch = channel.unary_stream(
                "/t.T/Watch", HealthCheckRequest.SerializeToString, HealthCheckRequest.FromString
            )(HealthCheckRequest())
            assert (await watch.read()).service == "now"
            await outlast(on, clock)
            on.release.set()
            assert (await watch.read()).service == "later"
            assert on.struck("stalled_s") == 0

    play(scene)
