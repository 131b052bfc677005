"""`grpc.health.v1.Health`: what load balancers and grpc-health-probe ask."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from grpc_health.v1 import health_pb2

from serving.errors import NotFoundError
from serving.rpc.method import Call, Group, Kind, Method

_SERVICE = "/grpc.health.v1.Health"
_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class HealthService:
    """One answer for the server ('') and for each of its services. Used on the event loop."""

    def __init__(self, services: Sequence[str]) -> None:
        self._services = {"", *services}
        self._serving = False
        self._stopped = False
        self._changed = asyncio.Event()

    def methods(self) -> list[Method]:
        """What the transport serves."""
        request = health_pb2.HealthCheckRequest
        return [
            Method(f"{_SERVICE}/Check", Kind.UNARY, request, self._check, group=Group.OPEN),
            Method(f"{_SERVICE}/Watch", Kind.SERVER_STREAM, request, self._watch, group=Group.OPEN),
        ]

    @property
    def serving(self) -> bool:
        """What is answered now."""
        return self._serving

    def set(self, *, serving: bool) -> None:
        """Change the answer, and tell the watchers."""
        self._serving = serving
        self._changed.set()
        self._changed = asyncio.Event()

    def stop(self) -> None:
        """Say that it does not serve, and end every watch: an open one would hold up the server's end."""
        self._stopped = True
        self.set(serving=False)

    async def _check(self, request: health_pb2.HealthCheckRequest, _call: Call) -> health_pb2.HealthCheckResponse:
        if request.service not in self._services:
            raise NotFoundError(f"service: expected one of {sorted(self._services)}, got {request.service!r}")
        return health_pb2.HealthCheckResponse(status=_SERVING if self._serving else _NOT_SERVING)

    async def _watch(
        self, requests: AsyncIterator[health_pb2.HealthCheckRequest], _call: Call
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        async for request in requests:
            while True:
                changed = self._changed
                status = (
                    _UNKNOWN if request.service not in self._services else _SERVING if self._serving else _NOT_SERVING
                )
                last = self._stopped  # else a change during the yield would end it unsaid
                yield health_pb2.HealthCheckResponse(status=status)
                if last:
                    break
                await changed.wait()
