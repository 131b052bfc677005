"""Computes what is marked as due: after misses, by schedule, for a new version, and what a slow version owes.

The marks are the only queue there is. A mark goes in the write that brings its prediction.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from serving.models.places import STATES
from serving.nearline.costs import Costs
from serving.nearline.lanes import Chunk, Lanes
from serving.nearline.live import Live, LiveVersion
from serving.nearline.running import ROWS, Failed, Row, run
from serving.nearline.shard import Shard, Shards
from serving.nearline.urgency import BACKFILL, BY_EVENT, BY_TIME, active_ms_of, band_of
from serving.recipes.state import read_document
from serving.store.port import Change, Rank

_SLOW_ROWS = 8
"""Rows of a slow version's first chunk."""
_LANE_S = 0.5
"""How long a chunk of a slow version is to take, as far as one row does not take longer."""


class DueWork:
    """One thread. `fresh`: told how many seconds after its event a prediction is there."""

    def __init__(self, costs: Costs, lanes: Lanes, failed: Failed, fresh: Callable[[float], None]) -> None:
        self._costs = costs
        self._fresh = fresh
        self._lanes = lanes
        self._failed = failed

    def turn(self, shards: Shards, live: Live, share_s: float) -> int:
        """Give each version at most `share_s` seconds; return how many predictions were written."""
        made = self._gather(shards)
        for version in live.versions:
            left_s = share_s * version.weight
            for shard in shards.values():
                if version.key not in shard.due or left_s <= 0:
                    continue
                fitting = min(self._costs.fitting(version.key, left_s), ROWS)
                if fitting:
                    began = time.perf_counter()
                    made += self._in_line(shard, version, fitting)
                    left_s -= time.perf_counter() - began
                elif self._lanes.free(version):
                    self._beside(shard, version)
        return made

    def _in_line(self, shard: Shard, version: LiveVersion, most: int) -> int:
        rows, changes, event_ms = self._take(shard, version, most)
        began = time.perf_counter()
        found = run(version, rows, self._failed)
        if rows:
            self._costs.observe(version.key, len(rows), time.perf_counter() - began)
        made = self._write(shard, version, rows, found, changes)
        self._measure(event_ms)
        return made

    def _beside(self, shard: Shard, version: LiveVersion) -> None:
        fitting = self._costs.fitting(version.key, _LANE_S) or _SLOW_ROWS
        rows, changes, event_ms = self._take(shard, version, min(fitting, ROWS))
        if changes or not rows:
            self._write(shard, version, (), (), changes)
        if rows:
            self._lanes.begin(Chunk(shard.number, version, rows, event_ms))

    def _gather(self, shards: Shards) -> int:
        made = 0
        for chunk in self._lanes.over():
            shard = shards.get(chunk.shard)
            if shard is not None:
                kept = [(r, f) for r, f in zip(chunk.rows, chunk.found, strict=True) if r.entity not in chunk.overtaken]
                made += self._write(shard, chunk.version, [r for r, _ in kept], [f for _, f in kept], [])
                self._measure(chunk.event_ms)
        return made

    def _measure(self, event_ms: int | None) -> None:
        if event_ms is not None:
            self._fresh(max(0.0, time.time() - event_ms / 1000))

    def _take(self, shard: Shard, version: LiveVersion, most: int) -> tuple[list[Row], list[Change | Rank], int | None]:
        """Return the most urgent rows that are really due, and the changes that take the other marks away.

        Also when the oldest event among them was appended; None when no event made them due.
        """
        marks = shard.store.ranked(shard.number, version.due, most)
        if not marks:
            shard.due.discard(version.key)
        entities = [entity for entity, _ in marks]
        documents = shard.store.read(shard.number, STATES, entities)
        filling = [entity for entity, rank in marks if band_of(rank) == BACKFILL]
        there = shard.store.read(shard.number, version.space, filling) if filling else []
        filled = {entity for entity, stored in zip(filling, there, strict=True) if stored is not None}
        rows: list[Row] = []
        changes: list[Change | Rank] = []
        now_ms = time.time_ns() // 1_000_000
        for (entity, rank), document in zip(marks, documents, strict=True):
            if document is None or entity in filled or not version.wants(entity):
                changes.append(Rank(version.due, entity, None))
            else:
                after = read_document(document).newest_ms + 1
                rows.append(Row(entity, document, max(after, now_ms) if band_of(rank) in BY_TIME else after))
        events = [active_ms_of(rank) for _, rank in marks if band_of(rank) in BY_EVENT]
        return rows, changes, min(events, default=None)

    def _write(
        self,
        shard: Shard,
        version: LiveVersion,
        rows: Sequence[Row],
        found: Sequence[bytes | None],
        changes: list[Change | Rank],
    ) -> int:
        for row, stored in zip(rows, found, strict=True):
            changes += [Change(version.space, row.entity, stored), Rank(version.due, row.entity, None)]
        shard.predictions.add(version.key)
        removed = sum(isinstance(change, Rank) for change in changes)
        record = shard.fills.get(version.key)
        if record is not None:
            left = max(0, shard.store.size(shard.number, version.due) - removed)
            if left != record.left:
                shard.note(changes, version.key, replace(record, left=left))
        if changes:
            shard.write(changes)
        return sum(stored is not None for stored in found)
