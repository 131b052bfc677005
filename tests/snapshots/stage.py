"""A node's data directory with an embedded bus, and a store that was written to by hand."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree

from protos.topics import Topics
from serving.bus.connect import connect_bus
from serving.settings import Settings
from serving.snapshots.listing import list_snapshots, snapshot_folders
from serving.snapshots.manifest import Manifest
from serving.store.connect import connect_writer, lmdb_folder
from serving.store.port import Change, Cursor, Rank, StoreWriter
from tests.store.contents import ShardContents, contents

SHARDS = 2


@dataclass(frozen=True)
class Stage:
    settings: Settings

    @property
    def store(self) -> Path:
        return lmdb_folder(self.settings.data_dir)

    @property
    def topics(self) -> Topics:
        return self.settings.topics

    def having(self, **settings: object) -> "Stage":
        return Stage(self.settings.model_copy(update=settings))

    def make_topics(self) -> tuple[str, str]:
        """Make them if need be; return the identities of events and commands."""
        bus = connect_bus(self.settings)
        try:
            bus.ensure_topics(self.topics.all())
            return bus.identity(self.topics.events.name), bus.identity(self.topics.commands.name)
        finally:
            bus.close()

    def append(self, partition: int, count: int) -> None:
        """Append so many events, so that the log is as long as a cursor says."""
        bus = connect_bus(self.settings)
        for _ in range(count):
            bus.append(self.topics.events.name, None, b"event", partition)
        bus.close()

    def first_kept(self, partition: int) -> int:
        """Offset of the first event that the topic still has."""
        bus = connect_bus(self.settings)
        reader = bus.reader(self.topics.events.name, {partition: 0}, whole=False)
        (batch,) = reader.poll(1.0)
        reader.close()
        bus.close()
        return batch.records[0].offset

    def writer(self) -> StoreWriter:
        return connect_writer("lmdb", self.settings.data_dir, "", durability=self.settings.durability)

    def apply(self, offset: int, shards: Iterable[int] = range(SHARDS)) -> None:
        """As if a worker had applied one more event, the one before this offset, in each of the shards."""
        events, commands = self.make_topics()
        writer = self.writer()
        for shard in shards:
            self.append(shard, 1)
            changes: list[Change | Rank] = [Change(b"s", b"ann", b"%d" % offset), Rank(b"a", b"ann", offset)]
            writer.write(shard, writer.cursor(shard), Cursor(((events, offset), (commands, 0))), changes)
        writer.close()

    def contents(self) -> dict[int, ShardContents]:
        writer = self.writer()
        try:
            return contents(writer, range(self.settings.event_partitions))
        finally:
            writer.close()

    def lose_store(self) -> None:
        rmtree(self.store)

    def lose_bus(self) -> None:
        rmtree(self.settings.data_dir / "bus")

    def listed(self) -> list[Manifest]:
        return list_snapshots(snapshot_folders(self.settings))

    def file_of(self, snapshot: Manifest, name: str) -> Path:
        return self.settings.data_dir / "artifacts" / "snapshots" / "t." / snapshot.name / name
