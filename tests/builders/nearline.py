"""A near-line worker that tests move step by step, over the embedded bus and a real store, with real models."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client import CollectorRegistry

from protos.partition import partition_of
from protos.records import MILLION, Share
from serving.artifacts.cache import BundleCache
from serving.artifacts.store import FsspecArtifacts
from serving.bus.port import Bus
from serving.errors import ModelError
from serving.models.answers import message_of, read_message
from serving.models.loaded import LoadedModel
from serving.models.loading import Backoff
from serving.models.places import ACTIVE, DUE, PREDICTIONS, STATES, key_of
from serving.models.table import ActiveModel, ActiveTable
from serving.nearline.bulk import BulkLoads
from serving.nearline.compute import Computer, Limits
from serving.nearline.consuming import Consumer, Engine
from serving.nearline.costs import Costs
from serving.nearline.due import DueWork
from serving.nearline.fill_record import FillRecord
from serving.nearline.filling import Filling
from serving.nearline.fills import FillView
from serving.nearline.forgetting import Budget, Forgetting
from serving.nearline.forgetting_loads import LoadForgetting
from serving.nearline.lanes import Lanes
from serving.nearline.live import LiveVersions
from serving.nearline.load_files import LoadFiles
from serving.nearline.telling import Telling
from serving.nearline.turns import Turns
from serving.recipes.event import encode_event
from serving.recipes.mapping import EventMapping
from serving.store.port import Cursor, StoreWriter
from serving.telemetry.nearline import NearlineMetrics
from tests.builders.buses import TOPICS, Connect
from tests.builders.waiting import wait_until
from tests.store.stores import Store

SHARDS = TOPICS.event_partitions
EVENTS, COMMANDS = TOPICS.events.name, TOPICS.commands.name
LATENESS_S = 3600
PLENTY = Limits(LATENESS_S, 10.0)
KEEP = Budget(1 << 30, 1 << 20, 1 << 20, 1 << 20)


def shard_of(entity: str) -> int:
    """Whose shard the entity is in."""
    return partition_of(entity.encode(), SHARDS)


@dataclass(frozen=True)
class Setup:
    """What an engine is made with."""

    limits: Limits = PLENTY
    budget: Budget = KEEP
    mapping: EventMapping | None = None
    late_letters: bool = False
    stall_s: float = 30.0


@dataclass
class Made:
    """An engine, its parts that tests look at, and what it told."""

    setup: Setup = field(default_factory=Setup)
    table: ActiveTable = field(default_factory=ActiveTable)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    costs: Costs = field(default_factory=Costs)
    failed: list[tuple[LoadedModel, ModelError]] = field(default_factory=list)
    refilled: list[str] = field(default_factory=list)
    backfilled: list[tuple[str, int, int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        def failed(loaded: LoadedModel, error: ModelError) -> None:
            self.failed.append((loaded, error))

        self.lanes = Lanes(self.costs, failed)
        self.forgetting = Forgetting(self.setup.budget)
        self.view = FillView(lambda: SHARDS)
        metrics = NearlineMetrics(self.registry)
        # Nothing is loaded in bulk here, so nothing is fetched: tests/nearline/loads.py is for that.
        files = LoadFiles(BundleCache(Path("unused"), FsspecArtifacts("memory://unused"), 1), Backoff(1, 1), metrics)
        bulk = BulkLoads(self.table, files, lambda: SHARDS, metrics, LoadForgetting(self.table))
        self.engine = Engine(
            live=LiveVersions(self.table),
            computer=Computer(self.setup.limits, self.costs, failed),
            turns=Turns(
                DueWork(self.costs, self.lanes, failed, metrics.freshness.observe),
                Filling(),
                self.forgetting,
                self.lanes,
                bulk,
            ),
            lanes=self.lanes,
            telling=Telling(
                metrics,
                self.view,
                self.table,
                self.refilled.append,
                lambda *told: self.backfilled.append(told),
            ),
            mapping=self.setup.mapping,
            stall_s=self.setup.stall_s,
            late_letters=self.setup.late_letters,
        )

    def counted(self, name: str) -> float | None:
        """The value of a counter."""
        return self.registry.get_sample_value(f"nearline_{name}_total")


class Rig:
    """One consumer, stepped by hand. What it reads was appended through a connection of its own."""

    def __init__(self, store: Store, setup: Setup | None = None, *, group: str = "group") -> None:
        self.made = Made(setup or Setup())
        self.group = group
        self.connect = Connect(store.folder)
        self.store = store.writer()
        self._consumed: Bus = self.connect()
        self.bus: Bus = self.connect()
        self.bus.ensure_topics(TOPICS.all())
        self.looking = store.writer()
        self.consumer = self._consumer()

    def _consumer(self) -> Consumer:
        return Consumer(self._consumed, self.store, self.group, TOPICS, self.made.engine)

    def anew(self) -> None:
        """Leave the group, and join it with a new consumer."""
        self.consumer.close()
        self.consumer = self._consumer()

    def use(self, store: StoreWriter) -> None:
        """Go on with another writer of the same store."""
        self.store.close()
        self.store = store
        self.anew()

    def close(self) -> None:
        """Leave the group."""
        self.consumer.close()
        self.made.lanes.close()
        self._consumed.close()
        self.store.close()
        self.looking.close()
        self.bus.close()

    def serve(self, *models: LoadedModel, shares: Mapping[int, int] | None = None) -> None:
        """Put versions of one model into the table: in equal shares, or with these weights in parts of a million."""
        part = MILLION // len(models)
        weights = dict(shares or {loaded.version: part for loaded in models})
        last = list(weights)[-1]
        weights[last] += MILLION - sum(weights.values())
        self.put(models[0].model, tuple(Share(v, w) for v, w in weights.items()), *models)

    def put(
        self, name: str, shares: tuple[Share, ...], *models: LoadedModel, recommend: tuple[Share, ...] | None = None
    ) -> None:
        """Swap a model's state in."""
        versions = {loaded.version: loaded for loaded in models}
        self.made.table.swap(ActiveModel(name, shares, shares if recommend is None else recommend, versions))

    def slow(self, loaded: LoadedModel) -> None:
        """Let a version be known as too slow to run in line with events."""
        self.made.costs.forget(set())
        self.made.costs.observe(key_of(loaded), 1, 60.0)

    def happen(
        self, entity: str, item: str, ts: int | None = None, *, kind: str = "", event_id: str | None = None
    ) -> None:
        """Append an event."""
        self.bus.append(EVENTS, *encode_event(entity, {"item": item}, kind=kind, ts_ms=ts, event_id=event_id))

    def order(self, *commands: tuple[bytes | None, bytes | None]) -> None:
        """Append commands."""
        for key, value in commands:
            self.bus.append(COMMANDS, key, value)

    def step(self, most: int = 1000) -> None:
        """Let the worker do a step without waiting for events."""
        self.consumer._busy, self.consumer._orders_at = True, 0.0
        self.consumer.step(most)

    def look(self) -> None:
        """Let the next step look after the positions, as it does every few seconds."""
        self.consumer._due |= {self.consumer._look: 0.0, self.consumer._verify: 0.0}

    def caught_up(self) -> bool:
        """Whether the store has the effects of all events and commands."""
        for topic in (EVENTS, COMMANDS):
            log = self.bus.identity(topic)
            for shard, end in self.bus.end_offsets(topic).items():
                cursor = self.looking.cursor(shard)
                if end and (cursor is None or cursor.offset(log) != end):
                    return False
        return True

    def catch_up(self) -> None:
        """Step until it has."""

        def done() -> bool:
            self.step()
            return self.caught_up()

        wait_until(done)

    def settle(self) -> None:
        """Step until nothing is left to do: all is consumed, filled and computed."""
        self.look()

        def settled() -> bool:
            self.step()
            with self.made.engine.live.lease() as live:
                versions = live.versions
            return (
                self.caught_up()
                and not self.made.lanes.busy
                and all(
                    shard.fills[version.key].known and not self.looking.size(shard.number, version.due)
                    for shard in self.consumer._owned
                    for version in versions
                )
            )

        wait_until(settled)

    def entry(self, loaded: LoadedModel, entity: str) -> bytes | None:
        """What is stored of a version for an entity."""
        return self.looking.read(shard_of(entity), PREDICTIONS + key_of(loaded), [entity.encode()])[0]

    def items(self, loaded: LoadedModel, entity: str) -> list[str] | None:
        """The items of it."""
        stored = self.entry(loaded, entity)
        return list(read_message(message_of(stored)).item_ids) if stored is not None else None

    def document(self, entity: str) -> bytes | None:
        """The entity's state."""
        return self.looking.read(shard_of(entity), STATES, [entity.encode()])[0]

    def due(self, loaded: LoadedModel) -> dict[str, int]:
        """Who is marked as due for a version, and with which rank; most urgent first in each shard."""
        found: dict[str, int] = {}
        for shard in range(SHARDS):
            marks = self.looking.ranked(shard, DUE + key_of(loaded), 1 << 20)
            found.update({entity.decode(): rank for entity, rank in marks})
        return found

    def active(self, entity: str) -> bool:
        """Whether the entity counts as active."""
        return self.looking.ranks(shard_of(entity), ACTIVE, [entity.encode()]) != [None]

    def fill(self, loaded: LoadedModel, shard: int = 0) -> FillRecord | None:
        """How far a version is in a shard."""
        return self.consumer._owned.shards[shard].fills.get(key_of(loaded))

    def contents(self) -> dict[tuple[int, bytes, bytes], bytes]:
        """All spaces of the store."""
        return {
            (shard, space, key): value
            for shard in range(SHARDS)
            for space in self.looking.spaces(shard)
            for key, value in self.looking.scan(shard, space)
        }

    def rankings(self) -> dict[tuple[int, bytes], list[tuple[bytes, int]]]:
        """All rankings of the store."""
        return {
            (shard, name): self.looking.ranked(shard, name, 1 << 20)
            for shard in range(SHARDS)
            for name in self.looking.rankings(shard)
        }

    def move(self, entity: str, by: int) -> None:
        """Move the position of events in the entity's shard, as somebody else would: what they wrote stays."""
        shard = shard_of(entity)
        cursor = self.looking.cursor(shard)
        assert cursor is not None
        events = self.bus.identity(EVENTS)
        moved = Cursor(tuple((log, at + by if log == events else at) for log, at in cursor.positions))
        self.looking.write(shard, cursor, moved, [])

    def back(self, entity: str) -> None:
        """Move the position of events back by one, if there is one."""
        cursor = self.looking.cursor(shard_of(entity))
        if cursor is not None and cursor.offset(self.bus.identity(EVENTS)):
            self.move(entity, -1)


@contextmanager
def rig(store: Store, setup: Setup | None = None, **kinds: str) -> Iterator[Rig]:
    """A rig that is closed in the end."""
    made = Rig(store, setup, **kinds)
    try:
        yield made
    finally:
        made.close()


def at(folder: Path) -> Store:
    """The default store of a folder."""
    return Store("lmdb", folder, "t")
