"""Limits of the server as a whole: each has a setting, strikes, and is counted."""

import asyncio
import errno
import resource
import socket

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest

from serving.errors import InvalidRequestError
from serving.rpc.http2 import frames
from serving.rpc.http2.literals import block
from serving.rpc.native.limits import ServerLimits, read_limits
from tests.rpc.native.scenes import HELLO, REQUEST, Clock, ask, kinds, play, read_all, stage

GRPC, ACCEPTS = (b"content-type", b"application/grpc"), (b"grpc-accept-encoding", b"gzip")


def headers(stream_id: int, fields: bytes = REQUEST, *, end: bool = False) -> bytes:
    return frames.headers(stream_id, fields, end=end, frame_bytes=1 << 14)


@pytest.mark.parametrize(
    ("limits", "sent", "limit"),
    [
        ({"handshake_s": 0.1}, b"", "handshake_s"),
        ({"handshake_s": 0.1}, HELLO[:-1], "handshake_s"),
        ({"stalled_s": 0.1}, HELLO + headers(1)[:-1], "stalled_s"),
        ({"stalled_s": 0.1}, HELLO + frames.frame(frames.HEADERS, 0, 1, REQUEST), "stalled_s"),
        ({"idle_s": 0.1}, HELLO, "idle_s"),
        ({"age_s": 0.1}, HELLO, "age_s"),
        ({"resets_burst": 3, "resets_per_s": 1}, HELLO + b"".join(
            headers(n) + frames.rst_stream(n, 8) for n in range(1, 21, 2)), "resets"),
    ],
)  # fmt: skip
def test_a_client_that_only_costs_is_sent_away(limits: dict[str, float], sent: bytes, limit: str) -> None:
    async def scene() -> None:
        async with stage(limits) as on:
            reader, writer = await asyncio.open_connection("127.0.0.1", on.server.port)
            writer.write(sent)
            assert frames.GOAWAY in kinds(await read_all(reader))
            assert on.struck(limit) == 1
            writer.close()

    play(scene)


PING = frames.frame(frames.PING, 0, 0, bytes(8))
IDLE_S = 0.2


def test_pings_keep_no_connection_without_calls() -> None:
    async def scene() -> None:
        async with stage({"idle_s": IDLE_S}) as on:
            reader, writer = await asyncio.open_connection("127.0.0.1", on.server.port)
            writer.write(HELLO)
            ended = asyncio.ensure_future(read_all(reader))
            while not ended.done():
                writer.write(PING)
                await asyncio.sleep(IDLE_S / 10)
            said = kinds(await ended)
            assert said.count(frames.GOAWAY) == 2, "a gentle end"
            assert (frames.PING in said, on.struck("idle_s")) == (True, 1)
            writer.close()

    play(scene)


def test_a_slow_upload_is_not_stalled_as_long_as_frames_end() -> None:
    async def scene() -> None:
        clock = Clock()
        async with stage({"stalled_s": 10, "least_bytes_per_s": 1}, clock=clock) as on:
            reader, writer = await asyncio.open_connection("127.0.0.1", on.server.port)
            message = b"\x0a\xa0\x1f" + b"z" * 4_000
            body = b"\0" + len(message).to_bytes(4, "big") + message
            parts = [frames.frame(frames.DATA, 0, 1, body[at : at + 200]) for at in range(0, len(body), 200)]
            upload = headers(1) + b"".join(parts) + frames.frame(frames.DATA, frames.END_STREAM, 1, b"")
            writer.write(HELLO + upload[:100])
            for at in range(100, len(upload), 200):  # always ends within a frame
                await clock.forward(9)
                writer.write(upload[at : at + 200])
            await reader.readuntil(b"grpc-status\x010")
            assert on.struck("stalled_s") == 0
            writer.close()

    play(scene)


def test_a_peer_that_takes_nothing_is_dropped_and_holds_up_nobody() -> None:
    async def scene() -> None:
        async with stage({"stalled_s": 0.5}) as on:
            _, writer = await asyncio.open_connection("127.0.0.1", on.server.port, limit=1)
            window = frames.settings({frames.INITIAL_WINDOW_SIZE: 1 << 30}) + frames.window_update(0, 1 << 30)
            flood = block([(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/t.T/Flood"), GRPC])
            writer.write(HELLO + window + headers(1, flood))
            writer.write(frames.frame(frames.DATA, frames.END_STREAM, 1, bytes(5)))
            async with grpc.aio.insecure_channel(on.address) as channel:
                while not on.struck("stalled_s"):
                    assert (await ask(channel, "Echo", "others go on")).service
                while on.server._house.buffered or on.server._house.running or on.server._house.streaming:
                    await ask(channel, "Echo", "until it is cleared away")
            writer.close()

    play(scene)


def test_answers_that_a_peer_does_not_take_are_bounded() -> None:
    async def scene() -> None:
        async with stage({"connection_buffered_bytes": 3 << 20, "stalled_s": 600}) as on:
            _, writer = await asyncio.open_connection("127.0.0.1", on.server.port, limit=1)
            windows = {frames.INITIAL_WINDOW_SIZE: 1 << 30, frames.MAX_FRAME_SIZE: 1 << 23}
            writer.write(HELLO + frames.settings(windows) + frames.window_update(0, 1 << 30))
            soon = block([(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/t.T/Soon"), GRPC])
            data = frames.frame(frames.DATA, frames.END_STREAM, 1, bytes(5))
            for stream_id in range(1, 81, 2):
                writer.write(headers(stream_id, soon) + data[:5] + stream_id.to_bytes(4, "big") + data[9:])
            while len(on.waiting) < 40:  # noqa: ASYNC110 - a handler tells nobody
                await asyncio.sleep(0.01)
            for _, answering in on.waiting:
                answering.give(bytes(1 << 20))
                await asyncio.sleep(0)  # the answer goes to the socket
            await on.wait_struck("buffered_bytes")
            assert on.server._house.buffered <= 8 << 20, "the kernel's share is not ours"
            labels = {"method": "Soon", "code": "RESOURCE_EXHAUSTED"}
            on.server._house.flush()
            assert (on.registry.get_sample_value("nearline_requests_total", labels) or 0) > 20
            writer.transport.abort()
            while on.server._house.buffered:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.01)

    play(scene)


def test_calls_beyond_the_limit_are_shed_at_once() -> None:
    async def scene() -> None:
        async with stage({"running_calls": 2}) as on, grpc.aio.insecure_channel(on.address) as channel:
            held = [asyncio.ensure_future(ask(channel, "Hold", str(n))) for n in range(2)]
            for _ in held:
                await on.started.get()
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await ask(channel, "Hold", "one more")
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert on.struck("running_calls") == 1
            assert (await ask(channel, "Now", "a hit needs no place")).service
            on.release.set()
            assert [(await call).service for call in held] == ["0", "1"]
            assert (await ask(channel, "Echo", "again")).service

    play(scene)


def test_streaming_calls_have_places_of_their_own() -> None:
    async def scene() -> None:
        limits: dict[str, float] = {"running_calls": 1, "streaming_calls": 2}
        async with stage(limits) as on, grpc.aio.insecure_channel(on.address) as channel:
            watch = channel.unary_stream(
                "/t.T/Watch", HealthCheckRequest.SerializeToString, HealthCheckRequest.FromString
            )
            silent = [watch(HealthCheckRequest()) for _ in range(2)]
            for call in silent:
                assert (await call.read()).service == "now"
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await watch(HealthCheckRequest()).read()
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert on.struck("streaming_calls") == 1
            assert (await ask(channel, "Echo", "has its place")).service
            on.release.set()
            for call in silent:
                assert (await call.read()).service == "later"
                assert await call.code() is grpc.StatusCode.OK
            assert (await watch(HealthCheckRequest()).read()).service == "now"
            assert on.struck("running_calls") == 0

    play(scene)


def test_no_more_connections_are_accepted_than_there_is_room_for() -> None:
    async def scene() -> None:
        async with stage({"connections": 2}) as on:
            first = [await asyncio.open_connection("127.0.0.1", on.server.port) for _ in range(2)]
            for reader, _ in first:
                await reader.read(1)  # its SETTINGS: it was accepted
            waiting = await asyncio.open_connection("127.0.0.1", on.server.port)
            waiting[1].write(HELLO)
            assert on.struck("connections") == 1
            first[0][1].close()
            await waiting[0].readexactly(1)  # its turn
            for _, writer in (*first, waiting):
                writer.close()

    play(scene)


def test_a_listener_that_fails_once_listens_at_the_next_look() -> None:
    class Scarce(socket.socket):
        """Cannot be copied once: no descriptor is free just then."""

        failures = 0

        def dup(self) -> "Scarce":
            if not Scarce.failures:
                Scarce.failures += 1
                raise OSError(errno.EMFILE, "Too many open files")
            return super().dup()

    async def scene() -> None:
        async with stage({"connections": 1}) as on:
            first = await asyncio.open_connection("127.0.0.1", on.server.port)
            await first[0].read(1)
            listener = on.server._listener
            listener._sockets[:] = [Scarce(fileno=bound.detach()) for bound in listener._sockets]
            waiting = await asyncio.open_connection("127.0.0.1", on.server.port)
            first[1].close()
            await waiting[0].readexactly(1)  # its turn
            assert Scarce.failures == 1
            waiting[1].close()

    play(scene)


def test_a_listener_that_fails_goes_on_with_what_it_had() -> None:
    async def scene() -> None:
        async with stage() as on:
            listener = on.server._listener
            bound, listener._sockets[:] = list(listener._sockets), [socket.socket()]
            listener._sockets[0].close()
            with pytest.raises(OSError, match="descriptor"):
                await listener.listen(None)
            listener._sockets[:] = bound
            reader, writer = await asyncio.open_connection("127.0.0.1", on.server.port)
            await reader.readexactly(1)
            writer.close()

    play(scene)


def test_descriptors_are_left_to_everything_else() -> None:
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)

    async def scene() -> None:
        async with stage({"spare_descriptors": most - 1}) as on:
            first = await asyncio.open_connection("127.0.0.1", on.server.port)
            first[1].write(HELLO)
            await on.wait_struck("spare_descriptors")
            second = await asyncio.open_connection("127.0.0.1", on.server.port)
            first[1].close()
            await second[0].readexactly(1)  # its turn
            second[1].close()

    play(scene)


def test_what_all_connections_hold_is_bounded() -> None:
    async def scene() -> None:
        async with stage({"buffered_bytes": 1_000}) as on, grpc.aio.insecure_channel(on.address) as channel:
            reader, writer = await asyncio.open_connection("127.0.0.1", on.server.port)
            part = frames.frame(frames.DATA, 0, 1, b"\0\0\0\x20\0" + bytes(2_000))
            writer.write(HELLO + headers(1) + part + frames.frame(frames.PING, 0, 0, bytes(8)))
            await reader.readuntil(frames.frame(frames.PING, frames.ACK, 0, bytes(8)))
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await ask(channel, "Echo", "others")
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert on.struck("buffered_bytes_of_all") == 1
            writer.write(frames.rst_stream(1, 8) + frames.frame(frames.PING, 0, 0, b"12345678"))
            await reader.readuntil(b"12345678")
            assert (await ask(channel, "Echo", "again")).service == "again"
            writer.close()

    play(scene)


def test_messages_with_nothing_in_them_cost_something_too() -> None:
    async def scene() -> None:
        async with stage({"connection_buffered_bytes": 100_000}) as on:
            reader, writer = await asyncio.open_connection("127.0.0.1", on.server.port)
            empties = frames.frame(frames.DATA, 0, 1, bytes(5) * 1_000)
            measure = block([(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/t.T/Measure"), GRPC])
            writer.write(HELLO + headers(1, measure) + empties)
            await on.started.get()
            assert on.struck("buffered_bytes") == 0
            assert on.server._house.buffered > 64_000
            writer.write(empties)
            await reader.readuntil(b"grpc-status\x018")
            assert on.struck("buffered_bytes") == 1
            assert on.server._house.buffered == 0
            writer.close()

    play(scene)


def test_messages_that_are_too_large_are_counted() -> None:
    async def scene() -> None:
        async with stage() as on, grpc.aio.insecure_channel(on.address) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await ask(channel, "Echo", "x" * (5 << 20))
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert on.struck("max_message_bytes") == 1

    play(scene)


def test_what_outlives_the_grace_of_an_old_connection_is_unavailable() -> None:
    async def scene() -> None:
        async with (
            stage({"age_s": 0.05, "age_grace_s": 0.1}) as on,
            grpc.aio.insecure_channel(on.address) as channel,
        ):
            while not on.struck("age_grace_s"):  # a connection may be old before its call is there
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await ask(channel, "Hold", "too long")
                assert caught.value.code() is grpc.StatusCode.UNAVAILABLE

    play(scene)


def test_an_old_connection_goes_without_failing_a_call() -> None:
    async def scene() -> None:
        async with stage({"age_s": 0.05}) as on, grpc.aio.insecure_channel(on.address) as channel:
            for number in range(300):
                assert (await ask(channel, "Echo", str(number))).service == str(number)
            held = asyncio.ensure_future(ask(channel, "Hold", "kept"))
            await on.started.get()
            before = on.struck("age_s")
            while on.struck("age_s") == before:
                assert (await ask(channel, "Echo", "others")).service
            on.release.set()
            assert (await held).service == "kept"

    play(scene)


def test_a_stop_waits_for_no_peer_that_does_not_answer_its_ping() -> None:
    async def scene() -> None:
        async with stage() as on:
            reader, writer = await asyncio.open_connection("127.0.0.1", on.server.port)
            writer.write(HELLO)
            await reader.readexactly(61)  # SETTINGS, WINDOW_UPDATE and the ACK: it is accepted
            await on.server.stop(600)
            assert kinds(await read_all(reader)).count(frames.GOAWAY) == 2
            writer.close()

    play(scene)


def test_what_outlives_the_grace_of_a_stop_is_unavailable() -> None:
    async def scene() -> None:
        async with stage() as on, grpc.aio.insecure_channel(on.address) as channel:
            held = asyncio.ensure_future(ask(channel, "Hold", "too long"))
            await on.started.get()
            await on.server.stop(0)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await held
            assert (caught.value.code(), caught.value.details()) == (
                grpc.StatusCode.UNAVAILABLE,
                "the server stops",
            )

    play(scene)


def test_answers_are_compressed_for_who_accepts_it_if_the_server_is_told_to() -> None:
    async def scene() -> None:
        async with stage({"compress_bytes": 1_000}) as on:
            for path in (b"/t.T/Echo", b"/t.T/Now"):
                reader, writer = await asyncio.open_connection("127.0.0.1", on.server.port)
                fields = block([(b":method", b"POST"), (b":scheme", b"http"), (b":path", path), GRPC, ACCEPTS])
                message = b"\x0a\xd0\x0f" + b"z" * 2_000
                body = b"\0" + len(message).to_bytes(4, "big") + message
                writer.write(HELLO + headers(1, fields) + frames.frame(frames.DATA, 1, 1, body))
                assert b"\x1f\x8b" in await reader.readuntil(b"grpc-status")
                writer.close()
            async with grpc.aio.insecure_channel(on.address) as channel:
                assert (await ask(channel, "Now", "y" * 5_000)).service == "y" * 5_000

    play(scene)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ([(b":method", b"POST"), (b"content-type", b"application/json")], b"415"),
        ([(b":method", b"POST")], b"415"),
        ([(b":method", b"GET"), (b"content-type", b"application/grpc")], b"405"),
    ],
)
def test_what_is_not_grpc_is_told_so_in_http(fields: list[tuple[bytes, bytes]], status: bytes) -> None:
    async def scene() -> None:
        async with stage() as on:
            reader, writer = await asyncio.open_connection("127.0.0.1", on.server.port)
            path = [(b":scheme", b"http"), (b":path", b"/t.T/Echo")]
            writer.write(HELLO + headers(1, block([fields[0], *path, *fields[1:]]), end=True))
            said = await reader.readuntil(b"expected")
            assert status in said
            assert b"text/plain" in said
            await on.wait_counted("unknown", "UNKNOWN")
            writer.close()

    play(scene)


def test_a_method_that_there_is_not_counts_as_unknown() -> None:
    async def scene() -> None:
        async with stage() as on, grpc.aio.insecure_channel(on.address) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await ask(channel, "No")
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
            await on.wait_counted("unknown", "UNIMPLEMENTED")

    play(scene)


@pytest.mark.parametrize("timeout", [b"0S", b"0n"])
def test_expired_work_is_not_begun(timeout: bytes) -> None:
    async def scene() -> None:
        async with stage() as on:
            for path in (b"/t.T/Hold", b"/t.T/Now"):
                reader, writer = await asyncio.open_connection("127.0.0.1", on.server.port)
                late = (b"grpc-timeout", timeout)
                fields = block([(b":method", b"POST"), (b":scheme", b"http"), (b":path", path), GRPC, late])
                writer.write(HELLO + headers(1, fields) + frames.frame(frames.DATA, 1, 1, bytes(5)))
                assert await reader.readuntil(b"grpc-status\x014")
                writer.close()
            assert on.started.empty()

    play(scene)


@pytest.mark.parametrize("name", ["GiveUp", "GiveUpLater"])
def test_a_handler_that_is_cancelled_from_inside_has_a_status_too(name: str) -> None:
    async def scene() -> None:
        async with stage() as on, grpc.aio.insecure_channel(on.address) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await ask(channel, name)
            assert (caught.value.code(), caught.value.details()) == (
                grpc.StatusCode.CANCELLED,
                "the handler was cancelled",
            )
            assert on.server._house.running == on.server._house.streaming == 0

    play(scene)


def test_a_setting_of_every_limit_is_read() -> None:
    limits = read_limits({"idle_s": 1, "buffered_bytes": 7, "connection_buffered_bytes": 8, "resets_burst": 9})
    assert (limits.idle_s, limits.buffered_bytes) == (1, 7)
    assert (limits.connection.buffered_bytes, limits.connection.resets_burst) == (8, 9)
    assert read_limits({}) == ServerLimits()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"no": 1}, "rpc_limits.no: expected one of "),
        ({"idle_s": -1}, "rpc_limits.idle_s: expected a positive number, got -1"),
        ({"frame_bytes": 100}, "rpc_limits.frame_bytes: expected 16384 to 16777215, got 100"),
    ],
)
def test_a_limit_that_cannot_be_is_named(given: dict[str, float], words: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        read_limits(given)
    assert str(caught.value).startswith(words)
