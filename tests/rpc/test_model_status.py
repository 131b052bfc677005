"""What every live worker said, answered by any of them."""

import asyncio
from collections.abc import Callable

from protos.nearline.v1 import model_status_pb2, status_pb2
from serving.rpc.model_status import ModelStatusService
from tests.rpc.calls import CALL, call, following, handler, stream

Response = model_status_pb2.ModelStatusResponse
Request = model_status_pb2.ModelStatusRequest


def response(*states: "status_pb2.InstanceState.ValueType") -> Response:
    instances = [status_pb2.InstanceStatus(model="m", version=v, state=state) for v, state in enumerate(states, 1)]
    return Response(
        instances=[*instances, status_pb2.InstanceStatus(model="other", version=1)],
        workers=[status_pb2.Presence(node="n", worker="w0")],
        faults=[status_pb2.LedgerFault(offset=1, model="m", version=2)],
        answered_by="n/w0",
        degraded_since_ms=5,
    )


def test_the_answer_is_narrowed_to_a_model_and_a_version() -> None:
    service = ModelStatusService(lambda: response(status_pb2.READY, status_pb2.FAILED))
    for request, instances, faults in (
        (Request(), [("m", 1), ("m", 2), ("other", 1)], 1),
        (Request(model="m"), [("m", 1), ("m", 2)], 1),
        (Request(model="m", version=1), [("m", 1)], 0),
        (Request(version=1), [("m", 1), ("other", 1)], 0),
        (Request(model="no"), [], 0),
    ):
        got = call(service.methods(), "Get", request)
        assert [(i.model, i.version) for i in got.instances] == instances
        assert (len(got.faults), len(got.workers), got.answered_by, got.degraded_since_ms) == (faults, 1, "n/w0", 5)


def test_watchers_get_the_whole_and_then_every_change_and_no_mere_heartbeats() -> None:
    async def scene() -> None:
        now = [response(status_pb2.LOADING)]
        service = ModelStatusService(lambda: now[0])
        watcher = handler(service.methods(), "Watch")(stream(Request(model="m")), CALL)
        assert (await following(watcher)).instances[0].state == status_pb2.LOADING
        waiting = asyncio.ensure_future(following(watcher))
        await from_a_thread(service.changed)  # nothing is different
        assert not waiting.done()
        now[0] = response(status_pb2.READY)
        await from_a_thread(service.changed)
        assert (await waiting).instances[0].state == status_pb2.READY
        await watcher.aclose()
        assert service._watchers == set()
        service.changed()

    asyncio.run(scene())


def test_watches_end_when_it_stops() -> None:
    async def scene() -> None:
        service = ModelStatusService(response)
        watcher = handler(service.methods(), "Watch")(stream(Request()), CALL)
        await following(watcher)
        rest = asyncio.ensure_future(anext(watcher, None))
        await asyncio.sleep(0)
        service.stop()
        async with asyncio.timeout(120):
            assert await rest is None
        assert service._watchers == set()

    asyncio.run(scene())


async def from_a_thread(act: Callable[[], None]) -> None:
    await asyncio.get_running_loop().run_in_executor(None, act)
    await asyncio.sleep(0)


def test_a_change_before_anybody_watches_is_nobodys_news() -> None:
    ModelStatusService(Response).changed()
