"""Bulk loads by hand: files of an artifact store, and a worker's part of importing them into a real store."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry

from protos.bulk import ROWS_FILE, encode_row
from protos.partition import partition_of
from protos.records import BulkLoad
from serving.artifacts.cache import BundleCache
from serving.artifacts.store import FsspecArtifacts
from serving.models.answers import Answer, computed_at, message_of, read_message
from serving.models.loading import Backoff
from serving.models.places import bulk_space, load_key
from serving.models.table import ActiveModel, ActiveTable, LedgerSide
from serving.nearline.bulk import BulkLoads
from serving.nearline.fills import FillView
from serving.nearline.forgetting_loads import LoadForgetting
from serving.nearline.load_files import LoadFiles
from serving.nearline.shard import Shard
from serving.store.port import StoreWriter
from serving.telemetry.nearline import NearlineMetrics
from tests.builders.waiting import wait_until

SHARDS = 4
LOGS = ("events log", "commands log")
DIGEST = "d" * 64
COMPUTED_MS = 1_000_000


def message(item: str, *, model: str = "m", version: int = 1, at_ms: int = COMPUTED_MS) -> bytes:
    return Answer([item], [1.0], model, version, at_ms).message()


def entities(count: int) -> list[bytes]:
    return [f"e{number}".encode() for number in range(count)]


class Importer:
    """A near-line worker's bulk loads, in a folder of its node."""

    def __init__(self, folder: Path, store: StoreWriter, shards: Sequence[int] = range(SHARDS)) -> None:
        self.folder, self.store = folder, store
        self.artifacts = FsspecArtifacts(str(folder / "artifacts"))
        self.registry = CollectorRegistry()
        self.table = ActiveTable()
        metrics = NearlineMetrics(self.registry)
        files = LoadFiles(BundleCache(folder / "loads", self.artifacts, 1 << 30), Backoff(0.01, 0.01), metrics)
        self.forgetting = LoadForgetting(self.table, grace_s=0.0)
        self.bulk = BulkLoads(self.table, files, lambda: SHARDS, metrics, self.forgetting)
        self.shards = {number: Shard(number, LOGS, store) for number in shards}
        self.reload()

    def reload(self) -> None:
        for number, shard in self.shards.items():
            self.bulk.leave(number)
            shard.load()

    def put(self, number: int, rows: Sequence[bytes], *, count: int | None = None) -> BulkLoad:
        """Store a file of encoded rows, as the publisher does."""
        data = b"".join(rows)
        sha256 = hashlib.sha256(data).hexdigest()
        path = self.folder / f"load-{number}"
        path.write_bytes(data)
        uri = f"{self.artifacts.put(sha256, {ROWS_FILE: path})}/{ROWS_FILE}"
        return BulkLoad(number, 1, DIGEST, uri, sha256, len(data), len(rows) if count is None else count)

    def load(self, number: int, keys: Sequence[bytes]) -> BulkLoad:
        """Everybody gets an item that tells the load."""
        return self.put(number, [encode_row(key, message(f"load-{number}")) for key in keys])

    def say(self, *loads: BulkLoad, shown: int, seen: BulkLoad | None = None) -> None:
        side = LedgerSide(loads={load.number: load for load in loads}, shown=shown)
        self.table.swap(ActiveModel("m", (), (), {}, ledger=side, bulk=seen))

    def run(self, share_s: float = 1.0) -> bool:
        return self.bulk.turn(self.shards, share_s)

    def complete(self, load: BulkLoad) -> bool:
        records = [shard.loads.get(load_key("m", load)) for shard in self.shards.values()]
        return all(record is not None and record.known and not record.stopped_ms for record in records)

    def wait_complete(self, load: BulkLoad) -> None:
        wait_until(lambda: self.run() is None or self.complete(load), f"load {load.number} complete")

    def left(self, load: BulkLoad) -> dict[int, int]:
        found = {number: shard.loads.get(load_key("m", load)) for number, shard in self.shards.items()}
        return {number: record.left for number, record in found.items() if record}

    def items(self, load: BulkLoad, keys: Sequence[bytes]) -> list[str | None]:
        """What the store has of a load for each entity."""
        found: dict[bytes, str | None] = {}
        for shard in range(SHARDS):
            own = [key for key in keys if partition_of(key, SHARDS) == shard]
            for key, stored in zip(own, self.store.read(shard, bulk_space("m", load), own), strict=True):
                found[key] = read_message(message_of(stored)).item_ids[0] if stored else None
                assert stored is None or computed_at(stored) == COMPUTED_MS
        return [found[key] for key in keys]

    def local(self, load: BulkLoad) -> Path:
        return self.folder / "loads" / load.sha256

    def counted(self, name: str) -> float | None:
        return self.registry.get_sample_value(f"nearline_{name}_total")

    def view(self) -> FillView:
        """What a serving worker reads."""
        view = FillView(lambda: SHARDS)
        self.learn(view)
        return view

    def learn(self, view: FillView) -> None:
        for keys in view.wanted(self.table).values():
            view.learn(keys, [self.store.read(key.shard, key.space, [key.key])[0] for key in keys])
