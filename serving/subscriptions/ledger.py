"""Follows the `models` topic: folds it, keeps the checkpoint, and tells the deployer what changed.

Starts from the checkpoint without waiting for the bus, and never gives up on the bus afterwards. A topic that is
gone, or was created again, takes nothing away: its records are folded on top of what is known. Only what nobody
signed who is trusted is not known any more (checkpoint.py, renewal.py): at once when other keys are trusted, which is
looked at all the time.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping

import structlog

from protos.judging import Outcome, Verdict, accept_everybody
from protos.ledger import World
from protos.records import ModelRecord
from protos.topics import Topics
from serving.bus.port import Bus, Reader, Record
from serving.errors import NearlineError
from serving.subscriptions.checkpoint import CheckpointFile
from serving.subscriptions.faults import Fault, Faults, Sound
from serving.subscriptions.renewal import renew
from serving.trust.trust import Trust

log = structlog.get_logger()

Changed = Callable[[Mapping[str, ModelRecord], Mapping[str, list[int]]], None]

_POLL_S = 0.2
_RETRY_S = 1.0
_LOOK_S = 1.0


class LedgerFollower:
    """One thread. `degraded_since_ms`: since when the bus cannot be read; 0 = it can.

    `event_partitions`: how many shards there are, as the bus said when it was last seen. `trusted`: tells whose
    statements count now, and the checkpoint was told the same; None = everybody's. `retrusted`: called when that is
    somebody else. `sound`: takes back a fault.
    """

    def __init__(
        self,
        connect: Callable[[], Bus],
        topics: Topics,
        checkpoint: CheckpointFile,
        *,
        changed: Changed,
        caught_up: Callable[[], None],
        fault: Fault,
        sound: Sound = lambda _offset: None,
        trusted: Callable[[], Trust | None] = lambda: None,
        retrusted: Callable[[], None] = lambda: None,
    ) -> None:
        self._connect = connect
        self._topics = topics
        self._checkpoint = checkpoint
        self._changed = changed
        self._caught_up = caught_up
        self._faults = Faults(fault, sound)
        self._trusted = trusted
        self._retrusted = retrusted
        self._trust = trusted()
        self._next_look = 0.0
        self._world = World()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
        self.degraded_since_ms = 0
        self.event_partitions = topics.event_partitions

    def start(self) -> None:
        """Hand over what the checkpoint knows, then follow the topic."""
        if self._trust is None:
            log.warning(
                "ledger.unsigned",
                topic=self._topics.models.name,
                action="accepting whatever is said there: whoever may write it can run a model here",
                help="NEARLINE_TRUSTED_KEYS, docs/security.md",
            )
        self._world = self._checkpoint.load()
        self.event_partitions = self._checkpoint.event_partitions or self.event_partitions
        if self._world.models:
            log.info("ledger.checkpoint", models=len(self._world.models), position=self._world.position)
            self._changed({name: record.snapshot() for name, record in self._world.models.items()}, {})
        self._thread.start()

    def _take_over(self, world: World) -> None:
        """Hand over all that is known by other keys. Of a model that is not, nothing has been said."""
        before, self._world = self._world.models, world
        changed = {name: ModelRecord() for name in before.keys() - world.models.keys()}
        changed |= {name: record.snapshot() for name, record in world.models.items()}
        known = {name: record.versions for name, record in before.items()}
        announced = {
            name: [version for version in record.versions if version not in known.get(name, ())]
            for name, record in changed.items()
        }
        self._changed(changed, announced)

    def _look(self) -> bool:
        """Look now and then whether others are trusted; if so, what does not count any more is gone when it returns."""
        if time.monotonic() < self._next_look:
            return False
        self._next_look = time.monotonic() + _LOOK_S
        trust = self._trusted()
        if (trust and trust.digest) == (self._trust and self._trust.digest):
            return False
        self._trust = trust
        self._take_over(self._checkpoint.trusting(trust))
        self._retrusted()
        return True

    def stop(self) -> None:
        """Stop following."""
        self._stopping.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._stopping.is_set():
            bus = self._connect()
            try:
                if self.degraded_since_ms:
                    self._look()  # trusted keys change while the bus is away, too
                self._follow(bus)
            except NearlineError as error:
                self._degrade(error)
                self._stopping.wait(_RETRY_S)
            except Exception:
                # Whatever the ledger says must never be able to end this thread.
                log.exception("ledger.defect")
                self._stopping.wait(_RETRY_S)
            finally:
                bus.close()

    def _degrade(self, error: NearlineError) -> None:
        if not self.degraded_since_ms:
            self.degraded_since_ms = time.time_ns() // 1_000_000
            serving = sorted(self._world.models)
            log.error("bus.away", error=str(error), action="serving the last good versions from disk", models=serving)
        if self._world.models:
            # What is on disk is all there is: good enough to be ready with.
            self._caught_up()

    def _follow(self, bus: Bus) -> None:
        bus.ensure_topics(self._topics.without_ledger() if self._checkpoint.log else self._topics.all())
        name = self._topics.models.name
        identity = bus.identity(name)
        self.event_partitions = bus.partitions(self._topics.events.name)
        end = bus.end_offsets(name)[0]
        if self._checkpoint.log and (identity != self._checkpoint.log or end < self._world.position):
            log.error(
                "ledger.recreated",
                topic=name,
                expected=self._checkpoint.log,
                actual=identity,
                position=self._world.position,
                end=end,
                action="keeping what is known, folding the new topic on top of it",
            )
            self._world.position = 0
            self._checkpoint.moved()
            self._faults.forget()
        judge = self._world.judge = self._trust.judge(identity) if self._trust else accept_everybody
        if self._checkpoint.outdated:
            checkpoint, world = renew(bus, name, identity, end, self._checkpoint, judge, self._faults, self._stopping)
            if self._stopping.is_set():
                return
            self._checkpoint = checkpoint
            self._take_over(world)
            self._checkpoint.save(identity, self._world.position, self.event_partitions)
        reader = bus.reader(name, {0: self._world.position})
        try:
            caught_up = False
            while not self._stopping.is_set():
                if not caught_up and reader.position(0) >= end:
                    caught_up = True
                    self._recovered()
                self._step(reader, identity)
                if self._look():
                    return  # and read the topic from its start: what had lost may win now
        finally:
            reader.close()

    def _recovered(self) -> None:
        if self.degraded_since_ms:
            log.info("bus.back", away_s=round(time.time() - self.degraded_since_ms / 1000, 1))
            self.degraded_since_ms = 0
        self._caught_up()

    def _step(self, reader: Reader, identity: str) -> None:
        changed: dict[str, ModelRecord] = {}
        announced: defaultdict[str, list[int]] = defaultdict(list)
        batches = reader.poll(_POLL_S)
        for batch in batches:
            for record in batch.records:
                verdict = self._fold(record)
                if verdict.outcome is Outcome.ACCEPTED:
                    changed[verdict.model] = self._world.models[verdict.model].snapshot()
                    if verdict.version in changed[verdict.model].versions:
                        announced[verdict.model].append(verdict.version)
        if batches:
            self._checkpoint.save(identity, self._world.position, self.event_partitions)
        if changed:
            self._changed(changed, announced)

    def _fold(self, record: Record) -> Verdict:
        verdict = self._world.apply(record.offset, record.key, record.value)
        if verdict.outcome is Outcome.ACCEPTED:
            self._checkpoint.accept(record.offset, record.value or b"")
        self._faults.judged(record.offset, verdict)
        return verdict
