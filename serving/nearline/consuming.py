"""Consuming on one connection: events and commands of the shards that the group gives, until something breaks."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import structlog

from protos.dead_letter import DeadLetter
from protos.topics import Topics
from serving.bus.port import Batch, Bus
from serving.errors import BusUnavailableError, PositionConflictError, StoreFullError, StoreUnavailableError
from serving.nearline.compute import Computer, Step
from serving.nearline.intake import Intake, late_letters, take_in
from serving.nearline.lanes import Lanes
from serving.nearline.live import Live, LiveVersions
from serving.nearline.orders import take_orders
from serving.nearline.ownership import Ownership
from serving.nearline.shard import Shard
from serving.nearline.telling import Telling
from serving.nearline.turns import Turns
from serving.nearline.watchdog import Watchdog
from serving.recipes.mapping import EventMapping
from serving.store.port import Cursor, StoreWriter

log = structlog.get_logger()

_POLL_S = 0.05
_TOLD = 5
_ORDERS_S = 0.05
_AWAY_S = 0.5
_COMMIT_S = 5.0
_SWEEP_S = 60.0
_LOOK_S = 5.0
_TELL_S = 0.25
_VERIFY_S = 1.0


@dataclass(frozen=True, slots=True)
class Engine:
    """What does the work. `mapping`: how to read events that are not in our own format.

    stall_s: how long a partition may stand still with records waiting before its consumer is made anew.
    late_letters: whether events that come too late become dead letters, beside being counted.
    """

    live: LiveVersions
    computer: Computer
    turns: Turns
    lanes: Lanes
    telling: Telling
    mapping: EventMapping | None
    stall_s: float
    late_letters: bool


class _Computed(NamedTuple):
    """What a batch is to write. `after`: where its shard stands then. `seconds`: what it took."""

    shard: Shard
    intake: Intake
    step: Step
    dead: Sequence[DeadLetter]
    after: Cursor
    seconds: float


class Consumer:
    """One thread. Raises what makes a new connection necessary."""

    def __init__(self, bus: Bus, store: StoreWriter, group: str, topics: Topics, engine: Engine) -> None:
        self._bus = bus
        self._store = store
        self._topics = topics
        self._engine = engine
        bus.ensure_topics(topics.without_ledger())
        events, commands = topics.events.name, topics.commands.name
        self._partitions = bus.partitions(events)
        self._owned = Ownership((bus.identity(events), bus.identity(commands)), store, engine.turns.leave)
        self._commands = bus.reader(commands, {}, whole=False)
        self._member = bus.member(group, events, self._owned.assigned, self._owned.revoked)
        self._watchdog = Watchdog(engine.stall_s)
        self._due = dict.fromkeys((self.commit, self._sweep, self._look, self._tell, self._verify), time.monotonic())
        self._busy = False
        self._orders_at = 0.0
        self._adrift = False
        self._full = False

    def step(self, most: int) -> None:
        """Take what there is, at most so many events; then a turn of everything else."""
        try:
            if self._adrift:
                self._resume()
            batches = self._member.poll(0.0 if self._busy else _POLL_S, most)
            self._owned.follow(self._commands, self._command_ends)
            orders = self._ordered()
            early = self._owned.awaiting_orders(self._commands)
            with self._engine.live.lease() as live:
                began = time.perf_counter()
                for batch in orders:
                    self._obey(batch, live)
                computed = []
                for batch in batches:
                    if batch.partition in early:
                        self._owned.put_back(batch.partition, self._member)
                    elif (shard := self._owned.shards.get(batch.partition)) is not None:
                        computed.append(self._compute(shard, batch, live))
                    # else: given away by the poll that brought it
                self._write(computed)
                events_s = time.perf_counter() - began if batches else 0.0
                made, self._busy = self._engine.turns.take(self._owned.shards, live, events_s)
            self._engine.telling.predicted(made)
            self._housekeep()
        except PositionConflictError as error:
            log.warning("shard.conflict", error=str(error), action="continuing at the store's position")
            self._owned.reload(self._member)
        except StoreUnavailableError as error:
            self._pause(error)

    def commit(self) -> None:
        """Tell the group how far the store is, for lag tools."""
        self._member.commit({shard.number: shard.positions[0] for shard in self._owned if shard.cursor})

    def close(self) -> None:
        """Leave the group."""
        try:
            self._commands.close()
        finally:
            self._member.close()

    def _ordered(self) -> Sequence[Batch]:
        """Commands that came; asked for now and then, since asking costs as much as a hundred events."""
        if self._owned.awaiting_orders(self._commands):
            return self._commands.poll(_POLL_S)
        now = time.monotonic()
        if now < self._orders_at:
            return ()
        self._orders_at = now + _ORDERS_S
        return self._commands.poll(0.0)

    def _command_ends(self) -> dict[int, int]:
        return self._bus.end_offsets(self._topics.commands.name)

    def _compute(self, shard: Shard, batch: Batch, live: Live) -> "_Computed":
        began = time.perf_counter()
        intake = take_in(batch, self._partitions, self._engine.mapping)
        step = self._engine.computer.step(shard, intake, live)
        dead = intake.dead
        if step.late and self._engine.late_letters:
            dead = [*dead, *late_letters(batch, step.late, self._engine.mapping)]
        after = shard.after(events=batch.records[-1].offset + 1)
        return _Computed(shard, intake, step, dead, after, time.perf_counter() - began)

    def _write(self, computed: Sequence["_Computed"]) -> None:
        """Write what was computed for the shards of a poll: one step each, and all of them with one sync."""
        if not computed:
            return
        # Before the write: a crash in between tells of them twice, and never loses one.
        self._bury([letter for one in computed for letter in one.dead])
        began = time.perf_counter()
        with self._store.together():
            for one in computed:
                one.shard.write(one.step.changes, one.after)
        seconds = (time.perf_counter() - began) / len(computed)
        self._engine.telling.store_back()
        for one in computed:
            if self._engine.lanes.busy:
                self._engine.lanes.overtake(one.shard.number, list(one.intake.happened))
            self._measure(one.intake, one.step, len(one.dead), one.seconds + seconds)

    def _obey(self, batch: Batch, live: Live) -> None:
        shard = self._owned.shards.get(batch.partition)
        if shard is None:
            return
        orders = take_orders(shard, batch, live)
        self._bury(orders.dead)
        shard.write(orders.changes, shard.after(commands=batch.records[-1].offset + 1))
        self._engine.lanes.overtake(shard.number, orders.erased)
        self._engine.telling.ordered(orders.recomputed, len(orders.erased), len(orders.dead))

    def _bury(self, dead: Sequence[DeadLetter]) -> None:
        if dead:
            self._bus.append_many(self._topics.dead_letters.name, [(d.key, d.encode()) for d in dead])
            for letter in dead[:_TOLD]:
                at = {"topic": letter.topic, "partition": letter.partition, "offset": letter.offset}
                log.warning("event.dead", **at, reason=letter.reason)
            if len(dead) > _TOLD:
                log.warning("events.dead", more=len(dead) - _TOLD, see="nearline dead-letters")

    def _measure(self, intake: Intake, step: Step, dead: int, seconds: float) -> None:
        telling = self._engine.telling
        telling.stepped(intake, step, dead, seconds)
        telling.predicted(step.predictions)

    def _pause(self, error: StoreUnavailableError) -> None:
        """Consume nothing while the store is away, and stay in the group."""
        self._adrift = True
        self._full = isinstance(error, StoreFullError)
        self._engine.telling.store_away(error)
        self._watchdog.pause()
        self._member.heartbeat()
        self._measure_lag()
        time.sleep(_AWAY_S)

    def _resume(self) -> None:
        """Go on where the store stands: what was polled when it went away has had no effect."""
        self._owned.reload(self._member)
        self._adrift = False
        if not self._full:  # a full one can be read all the time
            self._engine.telling.store_back()

    def _housekeep(self) -> None:
        now = time.monotonic()
        periods = (
            (self.commit, _COMMIT_S),
            (self._sweep, _SWEEP_S),
            (self._look, _LOOK_S),
            (self._tell, _TELL_S),
            (self._verify, _VERIFY_S),
        )
        for act, period in periods:
            if now >= self._due[act]:
                self._due[act] = now + period
                act()

    def _sweep(self) -> None:
        self._store.sweep()
        self._engine.telling.sizes(self._store.usage())

    def _tell(self) -> None:
        self._engine.telling.fills(self._owned.shards, self._store)

    def _verify(self) -> None:
        self._owned.verify()

    def _measure_lag(self) -> dict[int, int]:
        """Tell how many events the store has not taken in yet; return where the partitions end."""
        ends = self._bus.end_offsets(self._topics.events.name)
        behind = {shard.number: ends.get(shard.number, 0) - shard.positions[0] for shard in self._owned}
        self._engine.telling.lag(behind)
        return ends

    def _look(self) -> None:
        positions = {shard.number: self._member.position(shard.number) for shard in self._owned}
        ends = self._measure_lag()
        stalled = self._watchdog.stalled(time.monotonic(), ends, positions)
        if stalled:
            raise BusUnavailableError(f"partitions {stalled} have records that do not come: connecting anew")
