"""The near-line loop: take a batch of a shard, compute, and write states, predictions and position in one step.

Effectively once: a worker that is given a shard starts at the store's cursor, and the store refuses a write whose
expected cursor is not the stored one. So a crash, a replay or a worker that lost the shard while it slept changes
nothing. The group's committed offset only informs lag tools, and never runs ahead of the store.
"""

import threading
import time
from collections.abc import Callable

import structlog

from protos.topics import Topics
from serving.bus.port import Batch, Bus, Member
from serving.errors import NearlineError, PositionConflictError
from serving.nearline.compute import Computer
from serving.nearline.intake import Intake, take_in
from serving.recipes.history import STATES
from serving.store.port import Cursor, StoreWriter
from serving.telemetry.metrics import Metrics

log = structlog.get_logger()

_POLL_S = 0.2
_RETRY_S = 0.5
_COMMIT_S = 5.0
_SWEEP_S = 60.0


class NearlineWorker:
    """One thread over one consumer-group member and one store writer."""

    def __init__(
        self,
        connect: Callable[[], Bus],
        open_store: Callable[[], StoreWriter],
        topics: Topics,
        group: str,
        computer: Computer,
        metrics: Metrics,
        *,
        batch: int,
    ) -> None:
        self._connect = connect
        self._open_store = open_store
        self._topics = topics
        self._group = group
        self._computer = computer
        self._metrics = metrics
        self._batch = batch
        self._cursors: dict[int, Cursor | None] = {}
        self._ends: dict[int, int] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="nearline", daemon=True)

    def start(self) -> None:
        """Start consuming."""
        self._thread.start()

    def stop(self) -> None:
        """End after the batch in hand, commit, and leave the group."""
        self._stopping.set()
        self._thread.join(timeout=30)

    def _run(self) -> None:
        while not self._stopping.is_set():
            bus = self._connect()
            store: StoreWriter | None = None
            try:
                store = self._open_store()
                self._consume(bus, store)
            except NearlineError as error:
                log.warning("nearline.waiting", error=str(error), action="trying again from the store's position")
                self._stopping.wait(_RETRY_S)
            except Exception:
                log.exception("nearline.defect", action="trying again from the store's position")
                self._stopping.wait(_RETRY_S)
            finally:
                if store is not None:
                    store.close()
                bus.close()

    def _consume(self, bus: Bus, store: StoreWriter) -> None:
        topic = self._topics.events.name
        bus.ensure_topics(self._topics.without_ledger())
        identity, partitions = bus.identity(topic), bus.partitions(topic)

        def assigned(shard: int) -> int | None:
            cursor = self._cursors[shard] = store.cursor(shard)
            position = _position(cursor, identity)
            log.info("shard.assigned", shard=shard, position=position)
            return position

        def revoked(shard: int) -> None:
            log.info("shard.revoked", shard=shard)
            self._cursors.pop(shard, None)

        member = bus.member(self._group, topic, assigned, revoked)
        commit_at = time.monotonic() + _COMMIT_S
        sweep_at = time.monotonic() + _SWEEP_S
        try:
            while not self._stopping.is_set():
                for batch in member.poll(_POLL_S, self._batch):
                    self._step(bus, store, member, batch, identity, partitions)
                now = time.monotonic()
                if now >= commit_at:
                    self._commit(member)
                    commit_at = now + _COMMIT_S
                if now >= sweep_at:
                    store.sweep()
                    sweep_at = now + _SWEEP_S
            self._commit(member)
        finally:
            member.close()
            self._cursors.clear()

    def _step(self, bus: Bus, store: StoreWriter, member: Member, batch: Batch, identity: str, partitions: int) -> None:
        shard = batch.partition
        began = time.perf_counter()
        intake = take_in(batch, partitions)
        if intake.dead:
            # Before the write: a crash in between tells of them twice, and never loses one.
            bus.append_many(self._topics.dead_letters.name, [(d.key, d.encode()) for d in intake.dead])
            for dead in intake.dead:
                log.warning("event.dead", topic=dead.topic, partition=shard, offset=dead.offset, reason=dead.reason)
        changes, predictions = self._computer.changes(intake.events, lambda keys: store.read(shard, STATES, keys))
        end = batch.records[-1].offset + 1
        new = Cursor(((identity, end),))
        try:
            store.write(shard, self._cursors.get(shard), new, changes)
        except PositionConflictError:
            cursor = self._cursors[shard] = store.cursor(shard)
            position = _position(cursor, identity)
            log.warning("shard.conflict", shard=shard, action="continuing at the store's position", position=position)
            member.seek(shard, position)
            return
        self._cursors[shard] = new
        self._ends[shard] = end
        self._measure(intake, predictions, time.perf_counter() - began)

    def _measure(self, intake: Intake, predictions: int, seconds: float) -> None:
        metrics = self._metrics
        metrics.events.inc(intake.count)
        metrics.dead_letters.inc(len(intake.dead))
        metrics.clamped.inc(intake.clamped)
        metrics.predictions.inc(predictions)
        metrics.nearline_batch.observe(intake.count)
        metrics.nearline_seconds.observe(seconds)
        metrics.freshness.observe(max(0.0, time.time() - intake.oldest_append_ms / 1000))

    def _commit(self, member: Member) -> None:
        mine = {shard: end for shard, end in self._ends.items() if shard in self._cursors}
        if mine:
            member.commit(mine)
        self._ends.clear()


def _position(cursor: Cursor | None, identity: str) -> int:
    """Where to go on. Another log: the topic was created again, and everything in it is new."""
    return (cursor.offset(identity) if cursor else None) or 0
