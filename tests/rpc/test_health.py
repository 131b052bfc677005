"""What load balancers ask."""

import asyncio

import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from serving.errors import NotFoundError
from serving.rpc.health import HealthService
from tests.rpc.calls import CALL, following, handler, stream

SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING


@pytest.mark.parametrize("service", ["", "a.Service"])
def test_it_does_not_serve_until_told(service: str) -> None:
    async def scene() -> None:
        health = HealthService(["a.Service"])
        check = handler(health.methods(), "Check")
        for serving in (None, True, False):
            if serving is not None:
                health.set(serving=serving)
            status = (await check(HealthCheckRequest(service=service), CALL)).status
            assert (status, health.serving) == (SERVING if serving else NOT_SERVING, bool(serving))

    asyncio.run(scene())


def test_an_unknown_service_is_not_found() -> None:
    async def scene() -> None:
        with pytest.raises(NotFoundError, match=r"'other'"):
            await handler(HealthService([]).methods(), "Check")(HealthCheckRequest(service="other"), CALL)

    asyncio.run(scene())


def test_watchers_get_the_state_and_then_every_change() -> None:
    async def scene() -> None:
        health = HealthService([])
        watch = handler(health.methods(), "Watch")
        watchers = [watch(stream(HealthCheckRequest()), CALL) for _ in range(3)]
        for serving in (None, True, False, True):
            if serving is not None:
                health.set(serving=serving)
            for watcher in watchers:
                assert (await following(watcher)).status == (SERVING if serving else NOT_SERVING)
        for watcher in watchers:
            await watcher.aclose()

    asyncio.run(scene())


def test_a_slow_watcher_gets_the_newest_state() -> None:
    async def scene() -> None:
        health = HealthService([])
        watcher = handler(health.methods(), "Watch")(stream(HealthCheckRequest()), CALL)
        await following(watcher)
        for serving in (True, False, True):
            health.set(serving=serving)
        assert (await following(watcher)).status == SERVING
        await watcher.aclose()

    asyncio.run(scene())


def test_watching_an_unknown_service_says_so_and_goes_on() -> None:
    async def scene() -> None:
        watcher = handler(HealthService([]).methods(), "Watch")(stream(HealthCheckRequest(service="x")), CALL)
        assert (await following(watcher)).status == HealthCheckResponse.SERVICE_UNKNOWN
        await watcher.aclose()

    asyncio.run(scene())


@pytest.mark.parametrize("service", ["", "unknown"])
def test_watches_end_when_it_stops_after_they_were_told(service: str) -> None:
    async def scene() -> None:
        health = HealthService([])
        health.set(serving=True)
        watch = handler(health.methods(), "Watch")
        waiting, slow = (watch(stream(HealthCheckRequest(service=service)), CALL) for _ in range(2))
        await following(slow)
        await following(waiting)
        next_of_waiting = asyncio.ensure_future(following(waiting))
        await asyncio.sleep(0)
        health.stop()
        last = NOT_SERVING if not service else HealthCheckResponse.SERVICE_UNKNOWN
        assert (await next_of_waiting).status == last
        assert [reply.status async for reply in waiting] == []
        assert [reply.status async for reply in slow] == [last]
        assert not health.serving

    asyncio.run(scene())


def test_both_methods_are_there() -> None:
    async def make() -> list[str]:
        return [method.path for method in HealthService([]).methods()]

    assert asyncio.run(make()) == ["/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"]
