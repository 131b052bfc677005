"""Brings bulk loads into the store between batches of events.

What a load needs is read off the ledger's side of the active table. One load is imported at a time.
"""

import time
from collections.abc import Callable
from dataclasses import replace

import structlog

from protos.bulk import BadRowError, wanted
from protos.records import BulkLoad
from serving.errors import StoreFullError
from serving.models.places import load_key
from serving.models.table import ActiveTable
from serving.nearline.fill_record import FillRecord
from serving.nearline.forgetting_loads import LoadForgetting
from serving.nearline.importing import Import
from serving.nearline.load_files import LoadFiles
from serving.nearline.shard import Shards
from serving.telemetry.nearline import NearlineMetrics

log = structlog.get_logger()


class BulkLoads:
    """One thread. `partitions`: how many shards there are."""

    def __init__(
        self,
        table: ActiveTable,
        files: LoadFiles,
        partitions: Callable[[], int],
        metrics: NearlineMetrics,
        forgetting: LoadForgetting,
    ) -> None:
        self._table = table
        self._files = files
        self._partitions = partitions
        self._metrics = metrics
        self._forgetting = forgetting
        self._seen: object = None
        self._wanted: list[tuple[str, BulkLoad]] = []
        self._dropped: set[BulkLoad] = set()
        self._going: Import | None = None

    def turn(self, shards: Shards, share_s: float) -> bool:
        """Spend about so many seconds; True while more waits."""
        self._follow(shards)
        forgetting = self._forgetting.turn(shards)
        if self._going is None:
            self._going = self._begin(shards)
        deadline = time.perf_counter() + share_s
        while self._going is not None:
            if self._page(self._going, shards) is None or time.perf_counter() >= deadline:
                break
        return forgetting or self._going is not None

    def leave(self, shard: int) -> None:
        """Forget what was remembered of a shard: it is not ours any more, or somebody else wrote it."""
        if self._going is not None:
            self._going.leave(shard)

    def close(self) -> None:
        """Leave off in the middle; the progress is in the store."""
        self._end()

    def _follow(self, shards: Shards) -> None:
        current = self._table.current
        if current is self._seen:
            return
        self._seen = current
        self._forgetting.look()
        self._wanted = [
            (name, load)
            for name, active in current.items()
            for load in wanted(active.ledger.loads, active.ledger.shown)
        ]
        # What every shard has, or nobody wants, needs no file.
        complete = {
            active.bulk
            for name, active in current.items()
            if active.bulk and all(_has(shard.loads.get(load_key(name, active.bulk))) for shard in shards.values())
        }
        needed = {load for _, load in self._wanted if load not in complete}
        known = {load for active in current.values() for load in active.ledger.loads.values()}
        for load in known - needed - self._dropped:
            if load.sha256 not in {other.sha256 for other in needed}:
                self._files.drop(load)
        self._dropped = known - needed
        if self._going is not None and self._going.load not in needed:
            self._end()

    def _begin(self, shards: Shards) -> Import | None:
        for model, load in self._wanted:
            key = load_key(model, load)
            missing = {number: shard for number, shard in shards.items() if not _has(shard.loads.get(key))}
            if not missing:
                continue
            for number, shard in list(missing.items()):
                record = shard.loads.get(key)
                if record is not None and record.known:  # it was not wanted for a while, and is still there
                    shard.write_load(key, replace(record, stopped_ms=0))
                    del missing[number]
            path = self._files.path(model, load) if missing else None
            if path is None:
                continue
            try:
                going = Import(model, load, path, missing, self._partitions())
            except OSError as error:
                self._files.postpone(model, load, str(error))
                continue
            self._dropped.discard(load)
            log.info("bulk.importing", model=model, load=load.number, rows=load.rows, shards=sorted(missing))
            return going
        return None

    def _page(self, going: Import, shards: Shards) -> int | None:
        """A page; None when the import has ended, well or not."""
        before = going.at
        try:
            read = going.page(shards)
        except BadRowError as error:
            self._files.reject(going.model, going.load, str(error))
            read = None
        except (OSError, StoreFullError) as error:
            self._files.postpone(going.model, going.load, str(error))
            read = None
        except BaseException:  # the store is away, or the shard is not ours any more: begun anew from what is stored
            self._end()
            raise
        if read is None:
            self._end()
            self._seen = None  # its file may not be needed any more
        self._metrics.bulk_rows.inc(going.at - before)
        return read

    def _end(self) -> None:
        if self._going is not None:
            self._going.close()
            self._going = None


def _has(record: FillRecord | None) -> bool:
    return record is not None and record.known and not record.stopped_ms
