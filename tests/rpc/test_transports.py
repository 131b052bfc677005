"""Both transports, with a real client: codes, messages, streams, metadata, deadlines, stopping."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest
from prometheus_client import CollectorRegistry

from serving.errors import InvalidRequestError, NearlineError, StoreUnavailableError
from serving.rpc.errors import Code, StatusError
from serving.rpc.method import Call, Kind, Method
from serving.telemetry.metrics import Metrics
from tests.rpc.transports import TRANSPORTS, make
from tests.servers.ports import free_port

Scene = Callable[[grpc.aio.Channel], Awaitable[None]]


async def echo(request: HealthCheckRequest, call: Call) -> HealthCheckRequest | bytes:
    match request.service:
        case "bad":
            raise InvalidRequestError("service", "a good one", "'bad'")
        case "away":
            raise StoreUnavailableError("the store is away")
        case "defect":
            raise ZeroDivisionError("secret")
        case "encoded":
            return HealthCheckRequest(service="bytes").SerializeToString()
        case "deadline":
            return HealthCheckRequest(service="set" if call.deadline is not None else "none")
    return request


async def count(requests: AsyncIterator[HealthCheckRequest], call: Call) -> AsyncIterator[HealthCheckRequest]:
    async for request in requests:
        for number in range(3):
            yield HealthCheckRequest(service=f"{request.service}{number}")
        if request.service == "bad":
            await echo(request, call)


async def slow(request: HealthCheckRequest, _call: Call) -> HealthCheckRequest:
    """Never answers, and tells when it was given up."""
    RUNNING[request.service] = gone = asyncio.Event()
    try:
        await asyncio.sleep(60)
    finally:
        gone.set()
    return request


async def mirror(request: HealthCheckRequest, call: Call) -> HealthCheckRequest:
    """Sends metadata back."""
    assert call.outgoing is not None
    call.outgoing.initial = tuple(pair for pair in call.metadata if pair[0] == "x-initial")
    call.outgoing.trailing = tuple(pair for pair in call.metadata if pair[0].endswith("-bin"))
    if request.service:
        raise StatusError(Code.DATA_LOSS, request.service, b"\x08\x0f")
    return request


async def collect(requests: AsyncIterator[HealthCheckRequest], _call: Call) -> AsyncIterator[HealthCheckRequest]:
    yield HealthCheckRequest(service="".join([request.service async for request in requests]))


async def endless(_requests: AsyncIterator[HealthCheckRequest], _call: Call) -> AsyncIterator[HealthCheckRequest]:
    RUNNING["endless"] = gone = asyncio.Event()
    try:
        while True:
            yield HealthCheckRequest(service="x" * 5_000)
    finally:
        gone.set()


MOST = 10_000
RUNNING: dict[str, asyncio.Event] = {}
METHODS = [
    Method("/t.T/Unary", Kind.UNARY, HealthCheckRequest, echo),
    Method("/t.T/Watch", Kind.SERVER_STREAM, HealthCheckRequest, count),
    Method("/t.T/Slow", Kind.UNARY, HealthCheckRequest, slow),
    Method("/t.T/Mirror", Kind.UNARY, HealthCheckRequest, mirror),
    Method("/t.T/Collect", Kind.BIDI_STREAM, HealthCheckRequest, collect),
    Method("/t.T/Endless", Kind.SERVER_STREAM, HealthCheckRequest, endless),
    Method("/t.T/Both", Kind.BIDI_STREAM, HealthCheckRequest, count),
]


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def serve(transport: str, scene: Scene, grace_s: float = 0, *options: tuple[str, int]) -> CollectorRegistry:
    """Run a scene against a server."""
    RUNNING.clear()

    async def run() -> CollectorRegistry:
        registry, address = CollectorRegistry(), f"127.0.0.1:{free_port()}"
        server = make(transport, METHODS, address, Metrics(registry), MOST)
        await server.start()
        try:
            async with asyncio.timeout(120), grpc.aio.insecure_channel(address, options=options) as channel:
                await scene(channel)
        finally:
            await server.stop(grace_s)
        return registry

    return asyncio.run(run())


def unary(channel: grpc.aio.Channel, path: str = "/t.T/Unary") -> Any:
    return channel.unary_unary(path, HealthCheckRequest.SerializeToString, HealthCheckRequest.FromString)


def test_messages_and_encoded_messages_are_carried(transport: str) -> None:
    async def scene(channel: grpc.aio.Channel) -> None:
        for said, answered in (("x", "x"), ("encoded", "bytes"), ("deadline", "none")):
            assert (await unary(channel)(HealthCheckRequest(service=said))).service == answered
        assert (await unary(channel)(HealthCheckRequest(service="deadline"), timeout=100)).service == "set"

    registry = serve(transport, scene)
    assert registry.get_sample_value("nearline_requests_total", {"method": "Unary", "code": "OK"}) == 4
    assert registry.get_sample_value("nearline_request_seconds_count", {"method": "Unary"}) == 4


@pytest.mark.parametrize(
    ("service", "code", "details"),
    [
        ("bad", grpc.StatusCode.INVALID_ARGUMENT, "service: expected a good one, got 'bad'"),
        ("away", grpc.StatusCode.UNAVAILABLE, "the store is away"),
        ("defect", grpc.StatusCode.INTERNAL, "internal error (ZeroDivisionError); the server's log says more"),
    ],
)
def test_errors_become_statuses(transport: str, service: str, code: grpc.StatusCode, details: str) -> None:
    async def scene(channel: grpc.aio.Channel) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await unary(channel)(HealthCheckRequest(service=service))
        assert (caught.value.code(), caught.value.details()) == (code, details)

    registry = serve(transport, scene)
    assert registry.get_sample_value("nearline_requests_total", {"method": "Unary", "code": code.name}) == 1


def test_bytes_that_are_no_message_an_unknown_method_and_too_large_a_message_are_refused(transport: str) -> None:
    async def scene(channel: grpc.aio.Channel) -> None:
        for path, data, code in (
            ("/t.T/Unary", b"\xff", grpc.StatusCode.INVALID_ARGUMENT),
            ("/t.T/Watch", b"\xff", grpc.StatusCode.INVALID_ARGUMENT),
            ("/t.T/No", b"", grpc.StatusCode.UNIMPLEMENTED),
            ("/t.T/Unary", b"x" * 20_000, grpc.StatusCode.RESOURCE_EXHAUSTED),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary(path)(data)
            assert caught.value.code() is code

    serve(transport, scene)


def test_streams_are_carried_up_to_their_error(transport: str) -> None:
    async def scene(channel: grpc.aio.Channel) -> None:
        watch = channel.unary_stream("/t.T/Watch", HealthCheckRequest.SerializeToString, HealthCheckRequest.FromString)
        assert [r.service async for r in watch(HealthCheckRequest(service="a"))] == ["a0", "a1", "a2"]
        both = channel.stream_stream("/t.T/Both", HealthCheckRequest.SerializeToString, HealthCheckRequest.FromString)
        requests = [HealthCheckRequest(service=name) for name in ("a", "bad")]
        call = both(iter(requests))
        assert [(await call.read()).service for _ in range(6)] == ["a0", "a1", "a2", "bad0", "bad1", "bad2"]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT

    serve(transport, scene)


def test_a_port_that_is_taken_is_an_error_of_ours(transport: str) -> None:
    async def run() -> None:
        server = make(transport, METHODS, "256.256.256.256:1", Metrics(CollectorRegistry()), MOST)
        with pytest.raises(NearlineError, match=r"^address: expected one that is free"):
            await server.start()

    asyncio.run(run())


def test_metadata_goes_both_ways(transport: str) -> None:
    async def scene(channel: grpc.aio.Channel) -> None:
        sent = (("x-initial", "a b,c"), ("x-t-bin", b"\0\xff\n"), ("x-t-bin", b""), ("x-other", "no"))
        call = unary(channel, "/t.T/Mirror")(HealthCheckRequest(), metadata=sent)
        await call
        assert ("x-initial", "a b,c") in tuple(await call.initial_metadata())
        assert [value for key, value in await call.trailing_metadata() if key == "x-t-bin"] == [b"\0\xff\n", b""]

    serve(transport, scene)


@pytest.mark.parametrize(
    "message", ["plain", "100 % größe", "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n"]
)
def test_a_status_of_the_handlers_own_arrives_whole(transport: str, message: str) -> None:
    async def scene(channel: grpc.aio.Channel) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await unary(channel, "/t.T/Mirror")(HealthCheckRequest(service=message), metadata=(("x-t-bin", b"1"),))
        error = caught.value
        assert (error.code(), error.details()) == (grpc.StatusCode.DATA_LOSS, message)
        trailing = tuple(error.trailing_metadata())
        assert ("grpc-status-details-bin", b"\x08\x0f") in trailing
        assert ("x-t-bin", b"1") in trailing

    serve(transport, scene)


def test_a_deadline_ends_a_call_and_its_handler(transport: str) -> None:
    async def scene(channel: grpc.aio.Channel) -> None:
        seconds = 0.2
        while "late" not in RUNNING:  # its time may be over before the server has heard of it
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await unary(channel, "/t.T/Slow")(HealthCheckRequest(service="late"), timeout=seconds)
            assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            seconds *= 2
        await RUNNING["late"].wait()

    serve(transport, scene)


def test_a_cancelled_call_ends_its_handler(transport: str) -> None:
    async def scene(channel: grpc.aio.Channel) -> None:
        call = unary(channel, "/t.T/Slow")(HealthCheckRequest(service="mine"))
        while "mine" not in RUNNING:
            await unary(channel)(HealthCheckRequest())  # a round trip
        call.cancel()
        await RUNNING["mine"].wait()
        endless_ = channel.unary_stream("/t.T/Endless", HealthCheckRequest.SerializeToString)(HealthCheckRequest())
        await endless_.read()
        endless_.cancel()
        await RUNNING["endless"].wait()

    serve(transport, scene)


def test_many_messages_of_a_client_become_one_answer(transport: str) -> None:
    async def scene(channel: grpc.aio.Channel) -> None:
        collect_ = channel.stream_unary(
            "/t.T/Collect", HealthCheckRequest.SerializeToString, HealthCheckRequest.FromString
        )
        texts = [str(number) * (number * 5) for number in range(40)]
        assert (await collect_(HealthCheckRequest(service=text) for text in texts)).service == "".join(texts)

    serve(transport, scene)


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_compressed_requests_are_read(transport: str, compression: grpc.Compression) -> None:
    async def scene(channel: grpc.aio.Channel) -> None:
        said = HealthCheckRequest(service="z" * 9_000)
        assert await unary(channel)(said, compression=compression) == said
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await unary(channel)(HealthCheckRequest(service="z" * 1_000_000), compression=compression)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED

    serve(transport, scene)


def test_concurrent_calls_of_every_kind_do_not_mix(transport: str) -> None:
    async def scene(channel: grpc.aio.Channel) -> None:
        async def stream(name: str) -> list[str]:
            watch = channel.unary_stream(
                "/t.T/Watch", HealthCheckRequest.SerializeToString, HealthCheckRequest.FromString
            )
            return [reply.service async for reply in watch(HealthCheckRequest(service=name))]

        names = [f"n{number}" for number in range(100)]
        unaries = [unary(channel)(HealthCheckRequest(service=name), timeout=100 + i) for i, name in enumerate(names)]
        streams = [stream(name) for name in names]
        assert [reply.service for reply in await asyncio.gather(*unaries)] == names
        assert await asyncio.gather(*streams) == [[f"{name}{i}" for i in range(3)] for name in names]

    serve(transport, scene)


def test_what_runs_ends_within_the_grace_of_a_stop(transport: str) -> None:
    async def scene() -> None:
        release = asyncio.Event()

        async def held(request: HealthCheckRequest, _call: Call) -> HealthCheckRequest:
            started.set()
            await release.wait()
            return request

        started = asyncio.Event()
        address = f"127.0.0.1:{free_port()}"
        methods = [Method("/t.T/Unary", Kind.UNARY, HealthCheckRequest, held)]
        server = make(transport, methods, address, Metrics(CollectorRegistry()), MOST)
        await server.start()
        async with asyncio.timeout(120), grpc.aio.insecure_channel(address) as channel:
            call = asyncio.ensure_future(unary(channel)(HealthCheckRequest(service="kept")))
            await started.wait()
            stopping = asyncio.ensure_future(server.stop(20))
            await asyncio.sleep(0)
            release.set()
            assert (await call).service == "kept"
            await stopping

    asyncio.run(scene())


def test_a_synchronous_client_is_answered(transport: str) -> None:
    def ask(address: str) -> str:
        with grpc.insecure_channel(address) as channel:
            return str(unary(channel)(HealthCheckRequest(service="sync"), timeout=100).service)

    async def run() -> None:
        address = f"127.0.0.1:{free_port()}"
        server = make(transport, METHODS, address, Metrics(CollectorRegistry()), MOST)
        await server.start()
        assert await asyncio.to_thread(ask, address) == "sync"
        await server.stop(1)

    asyncio.run(run())
