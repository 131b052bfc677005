"""Makes predictions due: for a version that is new or gets other entities (backfill), and by schedule.

The active entities of a shard are looked at once, most recently active first, and marked a page at a time, between
the batches of events. Whoever restarts in the middle starts again, which changes nothing: marks are a set.
"""

import time
from collections.abc import Iterator
from dataclasses import replace

import structlog

from serving.models.places import ACTIVE, HOUR_MS, active_since
from serving.nearline.fill_record import FillRecord
from serving.nearline.live import Live, LiveVersion
from serving.nearline.shard import Shard, Shards
from serving.nearline.urgency import BACKFILL, SCHEDULED, score
from serving.store.port import MAX_SCORE, Change, Rank

log = structlog.get_logger()

_PAGE = 500


class Filling:
    """One thread."""

    def __init__(self) -> None:
        self._going: dict[tuple[int, bytes], Iterator[None]] = {}

    def turn(self, shards: Shards, live: Live, share_s: float) -> bool:
        """Begin what has to be, and spend about so many seconds on what is going on; True while more is to be done."""
        now_ms = time.time_ns() // 1_000_000
        current = {version.key for version in live.versions}
        for shard in shards.values():
            for version in live.versions:
                self._begin(shard, version, now_ms)
            self._stop(shard, current, now_ms)
        deadline = time.perf_counter() + share_s
        for at, pages in list(self._going.items()):
            del self._going[at]
            if at[0] in shards and at[1] in current and next(pages, pages) is not pages:
                self._going[at] = pages  # behind the others, whose turn is next
            if time.perf_counter() >= deadline:
                break
        return bool(self._going)

    def leave(self, shard: int) -> None:
        """Forget a shard that is not ours any more, or was read anew."""
        for at in [at for at in self._going if at[0] == shard]:
            del self._going[at]

    def _begin(self, shard: Shard, version: LiveVersion, now_ms: int) -> None:
        at = (shard.number, version.key)
        record = shard.fills.get(version.key)
        settings = version.predictor.settings
        if record is not None and not record.stopped_ms:
            if at in self._going and record.claims == version.claims:
                return
            if record.known and all(record.covers(claim) for claim in version.claims):
                if record.claims != version.claims:
                    self._note(shard, version, replace(record, claims=version.claims))
                if settings.is_due(record.scheduled_ms, now_ms):
                    scheduled = replace(shard.fills[version.key], scheduled_ms=now_ms)
                    self._going[at] = self._schedule(shard, version, scheduled)
                return
        begun = FillRecord(version.claims, known=False, total=0, left=0, began_ms=now_ms, scheduled_ms=now_ms)
        self._note(shard, version, begun)
        self._going[at] = self._fill(shard, version)

    def _fill(self, shard: Shard, version: LiveVersion) -> Iterator[None]:
        """Mark the active entities that have no prediction."""
        total = 0
        for active in _active(shard, version):
            page = [(entity, rank) for entity, rank in active if version.wants(entity)]
            stored = shard.store.read(shard.number, version.space, [entity for entity, _ in page])
            marks = [
                Rank(version.due, entity, score(BACKFILL, _active_ms(rank)))
                for (entity, rank), there in zip(page, stored, strict=True)
                if there is None
            ]
            ranked = shard.store.ranks(shard.number, version.due, [mark.member for mark in marks])
            total += len(page)
            self._mark(shard, version, [m for m, known in zip(marks, ranked, strict=True) if known is None])
            yield
        record = shard.fills[version.key]
        left = shard.store.size(shard.number, version.due)
        self._note(shard, version, replace(record, known=True, total=total, left=left))
        loaded = version.loaded
        log.info("fill.known", model=loaded.model, version=loaded.version, shard=shard.number, total=total, left=left)

    def _schedule(self, shard: Shard, version: LiveVersion, record: FillRecord) -> Iterator[None]:
        """Mark every active entity."""
        for page in _active(shard, version):
            wanted = [(entity, rank) for entity, rank in page if version.wants(entity)]
            ranked = shard.store.ranks(shard.number, version.due, [entity for entity, _ in wanted])
            self._mark(
                shard,
                version,
                [
                    Rank(version.due, entity, score(SCHEDULED, _active_ms(rank)))
                    for (entity, rank), known in zip(wanted, ranked, strict=True)
                    if known is None or known > score(SCHEDULED, MAX_SCORE)
                ],
            )
            yield
        self._note(shard, version, replace(record, left=shard.store.size(shard.number, version.due)))

    def _mark(self, shard: Shard, version: LiveVersion, marks: list[Change | Rank]) -> None:
        if marks:
            shard.write(marks)
            shard.due.add(version.key)

    def _note(self, shard: Shard, version: LiveVersion, record: FillRecord) -> None:
        changes: list[Change | Rank] = []
        shard.note(changes, version.key, record)
        shard.write(changes)

    def _stop(self, shard: Shard, current: set[bytes], now_ms: int) -> None:
        """Note which versions are not computed any more: what their predictions lack has to be found out anew."""
        changes: list[Change | Rank] = []
        for key, record in list(shard.fills.items()):
            if key not in current and not record.stopped_ms:
                shard.note(changes, key, replace(record, stopped_ms=now_ms))
        if changes:
            shard.write(changes)


def _active(shard: Shard, version: LiveVersion) -> Iterator[list[tuple[bytes, int]]]:
    """Who has been active lately enough for the version, most recently first, in pages.

    Who does something meanwhile moves to the front; the version is computed for it by that.
    """
    within_ms = version.predictor.settings.active_within * 1000
    most = active_since(max(0, time.time_ns() // 1_000_000 - within_ms))
    page: list[tuple[bytes, int]] = []
    while page := shard.store.ranked(shard.number, ACTIVE, _PAGE, most=most, after=page[-1] if page else None):
        yield page


def _active_ms(rank: int) -> int:
    """The hour of an entity's last activity, of its rank in ACTIVE."""
    return (active_since(0) - rank) * HOUR_MS
