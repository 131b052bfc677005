"""The parent of a node's workers: starts them on one port, starts them again, and stops them in order.

It serves nothing itself and holds no model, so that it can outlive every worker.
"""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import structlog
from filelock import FileLock, Timeout
from prometheus_client import multiprocess

from serving.bundles.trial_order import bare_environment
from serving.bus.connect import connect_bus
from serving.errors import ConflictError, NearlineError, UserError
from serving.installation import installation_id
from serving.settings import Settings
from serving.supervisor.helper import Helper
from serving.supervisor.http import HttpEndpoints
from serving.supervisor.namesake import look_for_namesake
from serving.supervisor.ports import claim, reserve
from serving.supervisor.process import WorkerProcess
from serving.supervisor.snapshots import Snapshots
from serving.supervisor.stale import clear_stale
from serving.supervisor.starting import Starter, WorkerSpec

log = structlog.get_logger()

_CLEAR_S = 3.0
_FORK_SERVER = "serving.supervisor.fork_server"


class Supervisor:
    """Runs a node until SIGTERM or SIGINT. `ready` is called once when every worker is, with address and pids."""

    def __init__(self, settings: Settings, ready: Callable[[dict[str, Any]], None]) -> None:
        self._settings = settings
        self._ready = ready
        self._run_dir = settings.data_dir / "run"
        self._workers: list[WorkerProcess] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Start everything, wait for a signal, stop in order."""
        settings = self._settings
        connect_bus(settings).close()  # connects to nothing, but refuses a URL that is none
        try:
            self._run_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"data_dir: expected a folder to write to, got {settings.data_dir} ({error})") from error
        lock = FileLock(self._run_dir / "node.lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise ConflictError(
                f"data_dir: expected one that no node uses, got {settings.data_dir} of a running node; "
                "set NEARLINE_DATA_DIR for a second one"
            ) from None
        try:
            (self._run_dir / "node.json").unlink(missing_ok=True)  # of one that was killed
            await self._refuse_namesake(installation_id(settings.data_dir))
            with reserve(settings.host, settings.port) as reserved:
                port = reserved.getsockname()[1]
                with claim(reserved):
                    await self._run(port)
        finally:
            (self._run_dir / "node.json").unlink(missing_ok=True)
            lock.release()

    async def _run(self, port: int) -> None:
        settings = self._settings
        metrics_dir = self._metrics_dir()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        env = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(metrics_dir)}
        config = settings.revealed()
        http = HttpEndpoints(settings.host, settings.metrics_port, str(metrics_dir), self._readiness)
        http.start()  # before any process: where its port is taken, nothing is left behind
        # A trial's process has whatever the helper has in memory, so that one holds nothing of a node.
        trials, forks = Helper("serving.bundles.trial_helper", bare_environment()), Helper(_FORK_SERVER, env)
        self._go(forks.run())
        self._go(trials.run())
        starter = Starter(config, env, trials.fd, forks.orders)
        self._workers = [WorkerProcess(spec, starter, self._died) for spec in self._specs(port)]
        await self._clear(None)
        snapshots = Snapshots(settings)
        await snapshots.restore(stop)  # workers would make an empty store, and begin to fill it
        runs = [asyncio.create_task(worker.run()) for worker in self._workers]
        self._go(self._announce_ready(port, http.port))
        self._go(snapshots.run())
        await stop.wait()
        log.info("node.stopping")
        await self._stop(runs)
        for task in self._tasks:
            task.cancel()
        trials.close()
        forks.close()
        http.stop()
        log.info("node.stopped")

    def _specs(self, port: int) -> list[WorkerSpec]:
        serving = [WorkerSpec("serving", f"serving-{i}", port) for i in range(self._settings.workers)]
        return serving + [WorkerSpec("nearline", f"nearline-{i}", 0) for i in range(self._settings.nearline_workers)]

    async def _died(self, worker: str, pid: int) -> None:
        multiprocess.mark_process_dead(pid, str(self._run_dir / "metrics"))
        await self._clear({worker})

    async def _refuse_namesake(self, installation: str) -> None:
        """ConflictError when another live node has our name; without a bus nobody can tell, and we start anyway."""
        look = asyncio.to_thread(look_for_namesake, self._settings, installation)
        try:
            await asyncio.wait_for(look, _CLEAR_S)
        except ConflictError:
            raise
        except (NearlineError, TimeoutError) as error:
            log.warning("node.name_unchecked", error=str(error) or f"the bus did not answer within {_CLEAR_S:g} s")

    async def _clear(self, workers: set[str] | None) -> None:
        """Take back what dead workers said, if the bus lets us soon: starting them again matters more."""
        work = asyncio.to_thread(self._clear_stale, workers, time.monotonic() + _CLEAR_S)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._go(work)), _CLEAR_S)

    async def _stop(self, runs: list[asyncio.Task[None]]) -> None:
        """Serving workers drain while near-line workers end their batch; whoever takes too long is killed."""
        for worker in self._workers:
            worker.stop()
        _, late = await asyncio.wait(runs, timeout=self._settings.grace_s + 20)
        for worker in self._workers if late else ():
            if worker.pid is not None:
                log.error("worker.killed", name=worker.spec.name, reason="did not stop within its grace")
                worker.kill()
        await asyncio.gather(*runs)

    async def _announce_ready(self, port: int, metrics_port: int) -> None:
        began = time.monotonic()
        while not all(worker.ready for worker in self._workers):  # noqa: ASYNC110 - readiness comes from several pipes
            await asyncio.sleep(0.02)
        info = {
            "address": f"{self._settings.host}:{port}",
            "metrics": f"http://{self._settings.host}:{metrics_port}/metrics",
            "node": self._settings.node,
            "pid": os.getpid(),
            "workers": {worker.spec.name: worker.pid for worker in self._workers},
        }
        part = self._run_dir / "node.json.part"
        part.write_text(json.dumps(info))
        part.replace(self._run_dir / "node.json")  # whoever waits for it finds it whole
        log.info("node.ready", seconds=round(time.monotonic() - began, 2), **info)
        self._ready(info)

    def _readiness(self) -> dict[str, bool]:
        return {worker.spec.name: worker.ready for worker in self._workers}

    def _clear_stale(self, workers: set[str] | None, deadline: float) -> None:
        bus = connect_bus(self._settings)
        try:
            bus.ensure_topics(self._settings.topics.without_ledger())
            cleared = clear_stale(bus, self._settings.topics, self._settings.node, workers, deadline)
            if cleared:
                log.info("status.cleared", records=cleared)
        except NearlineError as error:
            log.warning("status.stale", error=str(error))
        finally:
            bus.close()

    def _metrics_dir(self) -> Path:
        folder = self._run_dir / "metrics"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def _go(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
