"""`nearline.v1.ModelStatus`: what every live worker said of its model instances, answered by any of them."""

import asyncio
from collections.abc import AsyncIterator, Callable

from protos.nearline.v1 import model_status_pb2, status_pb2
from serving.rpc.method import Call, Group, Kind, Method

_SERVICE = "/nearline.v1.ModelStatus"

Snapshot = Callable[[], model_status_pb2.ModelStatusResponse]


class ModelStatusService:
    """`snapshot` gives the whole answer; `changed`, called from any thread, wakes the watchers."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._watchers: set[asyncio.Event] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped = False

    def methods(self) -> list[Method]:
        """What the transport serves."""
        request = model_status_pb2.ModelStatusRequest
        return [
            Method(f"{_SERVICE}/Get", Kind.UNARY, request, self._get, group=Group.ADMIN),
            Method(f"{_SERVICE}/Watch", Kind.SERVER_STREAM, request, self._watch, group=Group.ADMIN),
        ]

    def changed(self) -> None:
        """Wake whoever watches."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._wake)

    def stop(self) -> None:
        """End every watch, on the event loop: an open one would hold up the server's end."""
        self._stopped = True
        self._wake()

    def _wake(self) -> None:
        for watcher in self._watchers:
            watcher.set()

    async def _get(
        self, request: model_status_pb2.ModelStatusRequest, _call: Call
    ) -> model_status_pb2.ModelStatusResponse:
        return self._chosen(request)

    async def _watch(
        self, requests: AsyncIterator[model_status_pb2.ModelStatusRequest], _call: Call
    ) -> AsyncIterator[model_status_pb2.ModelStatusResponse]:
        self._loop = asyncio.get_running_loop()
        async for request in requests:
            event = asyncio.Event()
            self._watchers.add(event)
            try:
                last = None
                while not self._stopped:
                    event.clear()
                    now = self._chosen(request)
                    instances = [i.SerializeToString(deterministic=True) for i in now.instances]
                    if instances != last:  # heartbeats alone are no news
                        last = instances
                        yield now
                    await event.wait()
            finally:
                self._watchers.discard(event)

    def _chosen(self, request: model_status_pb2.ModelStatusRequest) -> model_status_pb2.ModelStatusResponse:
        whole = self._snapshot()

        def fits(about: status_pb2.InstanceStatus | status_pb2.LedgerFault) -> bool:
            return request.model in {"", about.model} and request.version in {0, about.version}

        return model_status_pb2.ModelStatusResponse(
            instances=filter(fits, whole.instances),
            workers=whole.workers,
            faults=filter(fits, whole.faults),
            answered_by=whole.answered_by,
            degraded_since_ms=whole.degraded_since_ms,
        )
