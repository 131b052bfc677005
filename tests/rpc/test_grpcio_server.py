"""The transport, with a real client: codes, messages, streams, stopping."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest
from prometheus_client import CollectorRegistry

from serving.errors import InvalidRequestError, NearlineError, StoreUnavailableError
from serving.rpc.grpcio_server import GrpcioServer
from serving.rpc.method import Call, Kind, Method
from serving.telemetry.metrics import Metrics
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


METHODS = [
    Method("/t.T/Unary", Kind.UNARY, HealthCheckRequest, echo),
    Method("/t.T/Watch", Kind.SERVER_STREAM, HealthCheckRequest, count),
    Method("/t.T/Both", Kind.BIDI_STREAM, HealthCheckRequest, count),
]


def serve(scene: Scene) -> CollectorRegistry:
    """Run a scene against a server."""

    async def run() -> CollectorRegistry:
        registry, address = CollectorRegistry(), f"127.0.0.1:{free_port()}"
        server = GrpcioServer(METHODS, address, Metrics(registry), 10_000)
        await server.start()
        try:
            async with asyncio.timeout(30), grpc.aio.insecure_channel(address) as channel:
                await scene(channel)
        finally:
            await server.stop(0)
        return registry

    return asyncio.run(run())


def unary(channel: grpc.aio.Channel, path: str = "/t.T/Unary") -> Any:
    return channel.unary_unary(path, HealthCheckRequest.SerializeToString, HealthCheckRequest.FromString)


def test_messages_and_encoded_messages_are_carried() -> None:
    async def scene(channel: grpc.aio.Channel) -> None:
        for said, answered in (("x", "x"), ("encoded", "bytes"), ("deadline", "none")):
            assert (await unary(channel)(HealthCheckRequest(service=said))).service == answered
        assert (await unary(channel)(HealthCheckRequest(service="deadline"), timeout=20)).service == "set"

    registry = serve(scene)
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
def test_errors_become_statuses(service: str, code: grpc.StatusCode, details: str) -> None:
    async def scene(channel: grpc.aio.Channel) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await unary(channel)(HealthCheckRequest(service=service))
        assert (caught.value.code(), caught.value.details()) == (code, details)

    registry = serve(scene)
    assert registry.get_sample_value("nearline_requests_total", {"method": "Unary", "code": code.name}) == 1


def test_bytes_that_are_no_message_an_unknown_method_and_too_large_a_message_are_refused() -> None:
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

    serve(scene)


def test_streams_are_carried_up_to_their_error() -> None:
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

    serve(scene)


def test_a_port_that_is_taken_is_an_error_of_ours() -> None:
    async def run() -> None:
        server = GrpcioServer(METHODS, "256.256.256.256:1", Metrics(CollectorRegistry()), 10_000)
        with pytest.raises(NearlineError, match=r"^address: expected one that is free"):
            await server.start()

    asyncio.run(run())
