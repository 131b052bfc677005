"""The near-line loop: take a batch of a shard, compute, and write states, predictions and position in one step.

Effectively once: a worker that is given a shard starts at the store's cursor, and the store refuses a write whose
expected cursor is not the stored one. So a crash, a replay or a worker that lost the shard while it slept changes
nothing. The group's committed offset only informs lag tools, and never runs ahead of the store.

While the store is away nothing is consumed; then every shard goes on where the store stands, which may be earlier.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from protos.topics import Topics
from serving.bus.port import Bus
from serving.errors import NearlineError
from serving.nearline.consuming import Consumer, Engine
from serving.store.port import StoreWriter
from serving.telemetry.trouble import Trouble

log = structlog.get_logger()

_RETRY_S = 0.5


@dataclass(frozen=True, slots=True)
class Group:
    """Which consumer group on which topics, and how many records at a time."""

    name: str
    topics: Topics
    batch: int


class NearlineWorker:
    """One thread over one consumer-group member and one store writer."""

    def __init__(
        self, connect: Callable[[], Bus], open_store: Callable[[], StoreWriter], group: Group, engine: Engine
    ) -> None:
        self._connect = connect
        self._open_store = open_store
        self._group = group
        self.engine = engine
        self._stopping = threading.Event()
        self._trouble = Trouble("nearline.waiting", "nearline.back")
        self._thread = threading.Thread(target=self._run, name="nearline", daemon=True)

    def start(self) -> None:
        """Start consuming."""
        self._thread.start()

    def stop(self) -> None:
        """End after the batch in hand, commit, and leave the group."""
        self._stopping.set()
        self._thread.join(timeout=30)
        self.engine.lanes.close()
        self.engine.turns.bulk.close()

    def _run(self) -> None:
        while not self._stopping.is_set():
            bus = self._connect()
            store: StoreWriter | None = None
            try:
                store = self._open_store()
                self._consume(bus, store)
            except NearlineError as error:
                self._trouble.met(str(error), action="trying again from the store's position")
                self._stopping.wait(_RETRY_S)
            except Exception:
                log.exception("nearline.defect", action="trying again from the store's position")
                self._stopping.wait(_RETRY_S)
            finally:
                if store is not None:
                    store.close()
                bus.close()

    def _consume(self, bus: Bus, store: StoreWriter) -> None:
        consumer = Consumer(bus, store, self._group.name, self._group.topics, self.engine)
        try:
            self._trouble.ended()
            while not self._stopping.is_set():
                consumer.step(self._group.batch)
            consumer.commit()
        finally:
            consumer.close()
