"""A worker process: `python -m serving.supervisor.child ROLE NAME PORT [TRIALS]`, or that as a fork (fork_server.py).

Settings come as JSON on standard input. File descriptor 3 is a pipe to the supervisor: a line of JSON a second says
that the process is alive and whether it is ready; when nobody reads it any more, the supervisor is gone, and so go we.
TRIALS is a socket to the node's trial helper.
"""

import asyncio
import gc
import json
import os
import signal
import socket
import sys
from collections.abc import Callable

import structlog
import uvloop

from protos.nearline.v1 import status_pb2
from serving.errors import NearlineError
from serving.node.identity import VERSION, new_identity
from serving.node.models import Models
from serving.node.nearline import NearlineProcess, build_nearline
from serving.node.serving import ServingWorker, build_serving
from serving.rpc.tracing import start_tracing
from serving.settings import Settings
from serving.supervisor.allocator import keep_freed_memory
from serving.supervisor.priority import give_way
from serving.telemetry.logs import configure_logs
from serving.telemetry.tracing import Tracing

log = structlog.get_logger()

BEAT_FD = 3
BEAT_S = 1.0
_SETTLE_S = 60.0


async def _serve(worker: ServingWorker, stop: asyncio.Event, grace_s: float, beat: Callable[[bool], None]) -> None:
    worker.models.crashes.begin()
    worker.models.start()
    worker.fleet.start()
    worker.misses.start()
    worker.fills.start()
    # The port is shared: listening before the models are there would draw requests away from workers that have them.
    settled = await _settled(worker.models, stop, beat)
    spare_collector()
    if not stop.is_set():
        await worker.server.start()
        worker.health.set(serving=settled)
        log.info("worker.ready" if settled else "worker.degraded")
    while not stop.is_set():
        beat(worker.health.serving)
        await asyncio.to_thread(worker.models.crashes.look)  # it reads files, of a disk that may be slow
        if not worker.health.serving:
            worker.health.set(serving=await asyncio.to_thread(worker.models.deployer.wait_settled, 0.1))
        await _wait(stop, BEAT_S)
    # Say so first, so that balancers look elsewhere; end who only watches; then let what runs end; then leave.
    beat(False)
    worker.health.stop()
    worker.status.stop()
    await worker.server.stop(grace_s)
    worker.batcher.close()
    await worker.fills.stop()
    await asyncio.to_thread(worker.misses.stop)
    worker.fleet.stop()
    await asyncio.to_thread(worker.models.stop)
    await worker.store.close()


async def _compute(process: NearlineProcess, stop: asyncio.Event, beat: Callable[[bool], None]) -> None:
    process.models.crashes.begin()
    process.models.start()
    # Events that come before the models would update states and predict nothing.
    settled = await _settled(process.models, stop, beat)
    spare_collector()
    process.worker.start()
    log.info("worker.ready" if settled else "worker.degraded")
    while not stop.is_set():
        beat(True)
        await asyncio.to_thread(process.models.crashes.look)
        await _wait(stop, BEAT_S)
    beat(False)
    await asyncio.to_thread(process.worker.stop)
    await asyncio.to_thread(process.models.stop)


async def _settled(models: Models, stop: asyncio.Event, beat: Callable[[bool], None]) -> bool:
    """Wait until what the ledger wants is loaded, unless nothing is known and the bus is away."""
    deadline = asyncio.get_running_loop().time() + _SETTLE_S
    while not stop.is_set() and asyncio.get_running_loop().time() < deadline:
        beat(False)
        if await asyncio.to_thread(models.deployer.wait_settled, 0.2):
            return True
        if models.ledger.degraded_since_ms:
            return await asyncio.to_thread(models.deployer.wait_settled, 1.0)
    return False


def spare_collector() -> None:
    """Leave what was built out of garbage collections, which would look at all of it again and again.

    Called once what serves is there. Events and requests make no cycles, so collecting rarely costs nothing: the
    near-line loop was 20 % faster, and no request waits for a collection of a hundred thousand objects.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return


async def _main(
    role: str, name: str, port: int, settings: Settings, trials: socket.socket | None, tracing: Tracing | None
) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    def beat(ready: bool) -> None:
        try:
            os.write(BEAT_FD, json.dumps({"ready": ready}).encode() + b"\n")
        except BlockingIOError:
            return  # a full pipe: the supervisor is slow, not gone
        except OSError:
            log.error("supervisor.gone", action="stopping")
            stop.set()

    if role == "serving":
        identity = new_identity(settings, name, status_pb2.SERVING)
        await _serve(build_serving(settings, identity, port, trials, tracing), stop, settings.grace_s, beat)
    else:
        identity = new_identity(settings, name, status_pb2.NEARLINE)
        await _compute(build_nearline(settings, identity, trials), stop, beat)
    log.info("worker.stopped")


def main() -> None:
    """Run one worker until SIGTERM."""
    role, name, port, *trials_fd = sys.argv[1:]
    trials = socket.socket(fileno=int(trials_fd[0])) if trials_fd else None
    settings = Settings.model_validate_json(sys.stdin.read())
    configure_logs(settings.log_format, settings.log_level, node=settings.node, worker=name)
    if role == "nearline":
        keep_freed_memory()
        # Loading and filling a version must not hold up answers, on the cores that both need.
        give_way(settings.nearline_nice)
    os.set_blocking(BEAT_FD, False)
    try:
        tracing = _tracing(role, name, settings)
        uvloop.run(_main(role, name, int(port), settings, trials, tracing))
    except NearlineError as error:
        log.error("worker.refused", error=str(error))
        sys.exit(1)
    if tracing is not None:
        tracing.stop()


def _tracing(role: str, name: str, settings: Settings) -> Tracing | None:
    """Spans are of requests, and near-line workers have none."""
    if role != "serving" or not settings.traces:
        return None
    tracing = start_tracing(settings.traces, VERSION, settings.node, name)
    configure_logs(settings.log_format, settings.log_level, stamp=tracing.stamp, node=settings.node, worker=name)
    return tracing


if __name__ == "__main__":
    main()
