"""Who only watches does not hold up a server that stops."""

import asyncio

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from prometheus_client import CollectorRegistry

from protos.nearline.v1.model_status_pb2 import ModelStatusRequest, ModelStatusResponse
from serving.rpc.health import HealthService
from serving.rpc.model_status import ModelStatusService
from serving.telemetry.metrics import Metrics
from tests.rpc.transports import TRANSPORTS, make
from tests.servers.ports import free_port

GRACE_S = 600.0


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_watchers_are_told_and_end_cleanly_long_before_the_grace_is_over(transport: str) -> None:
    async def scene() -> None:
        health, status = HealthService([]), ModelStatusService(ModelStatusResponse)
        health.set(serving=True)
        address = f"127.0.0.1:{free_port()}"
        methods = [*health.methods(), *status.methods()]
        server = make(transport, methods, address, Metrics(CollectorRegistry()), 10_000)
        await server.start()
        async with asyncio.timeout(120), grpc.aio.insecure_channel(address) as channel:
            of_health = channel.unary_stream(
                "/grpc.health.v1.Health/Watch",
                HealthCheckRequest.SerializeToString,
                HealthCheckResponse.FromString,
            )(HealthCheckRequest())
            of_status = channel.unary_stream(
                "/nearline.v1.ModelStatus/Watch",
                ModelStatusRequest.SerializeToString,
                ModelStatusResponse.FromString,
            )(ModelStatusRequest())
            assert (await of_health.read()).status == HealthCheckResponse.SERVING
            await of_status.read()
            health.stop()
            status.stop()
            await server.stop(GRACE_S)
            assert (await of_health.read()).status == HealthCheckResponse.NOT_SERVING
            assert [await call.read() for call in (of_health, of_status)] == [grpc.aio.EOF] * 2
            assert [await call.code() for call in (of_health, of_status)] == [grpc.StatusCode.OK] * 2

    asyncio.run(scene())
