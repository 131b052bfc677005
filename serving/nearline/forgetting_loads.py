"""Takes bulk loads away that nobody goes back to, a bit at a time."""

import time
from dataclasses import replace

import structlog

from protos.bulk import kept
from serving.models.places import BULK, LOADS, load_key, model_of
from serving.models.table import ActiveTable
from serving.nearline.fill_record import FillRecord
from serving.nearline.shard import Shard, Shards
from serving.store.port import Change

log = structlog.get_logger()

_PAGE = 1000
_GRACE_S = 60.0
"""So long after nobody needs a load its predictions stay: workers of other nodes may still show it."""
_LOOK_S = 10.0


class LoadForgetting:
    """One thread. `grace_s`: how long what nobody needs stays."""

    def __init__(self, table: ActiveTable, grace_s: float = _GRACE_S) -> None:
        self._table = table
        self._grace_s = grace_s
        self._look_at = 0.0

    def look(self) -> None:
        """Tell that something changed: look in the next turn."""
        self._look_at = 0.0

    def turn(self, shards: Shards) -> bool:
        """Drop a page of what is not kept; True while more is to be dropped."""
        now = time.monotonic()
        if now < self._look_at:
            return False
        now_ms = time.time_ns() // 1_000_000
        for shard in shards.values():
            for key, record in list(shard.loads.items()):
                if not self._keeps(key) and _drop(shard, key, record, now_ms, self._grace_s):
                    return True
        self._look_at = now + min(_LOOK_S, self._grace_s)
        return False

    def _keeps(self, key: bytes) -> bool:
        """Tell whether a load must stay: what the ledger does not know yet, does."""
        model, number = model_of(key)
        active = self._table.current.get(model)
        if active is None or number > max(active.ledger.loads, default=0):
            return True
        loads = kept(active.ledger.loads, active.ledger.shown) + ([active.bulk] if active.bulk else [])
        return key in {load_key(model, load) for load in loads}


def _drop(shard: Shard, key: bytes, record: FillRecord, now_ms: int, grace_s: float) -> bool:
    """Take a step of dropping; True = there are more."""
    if not record.stopped_ms:
        shard.write_load(key, replace(record, stopped_ms=now_ms))
        return False
    if now_ms - record.stopped_ms < grace_s * 1000:
        return False
    if record.known or record.left != record.total:
        # First: who wants it again in between has to import all of it.
        shard.write_load(key, replace(record, known=False, left=record.total))
    if not shard.store.drop(shard.number, shard.cursor, BULK + key, _PAGE):
        return True
    shard.write([Change(LOADS, key, None)])
    del shard.loads[key]
    model, number = model_of(key)
    log.info("bulk.dropped", model=model, load=number, shard=shard.number)
    return True
