"""What goes away by itself: predictions of former versions beyond a budget, marks of old erasures. A bit at a time."""

import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import structlog

from serving.models.places import ACTIVE, DUE, ERASED, FILLS, PREDICTIONS, STATES, active_since, model_of
from serving.nearline.live import Live
from serving.nearline.shard import Shard, Shards
from serving.store.port import Change, Rank

log = structlog.get_logger()

_PAGE = 1000
_SAMPLE = 50
_EVERY_S = 10.0


@dataclass(frozen=True, slots=True)
class Budget:
    """Of each model's former versions, together: bytes in each shard, and seconds since one was computed last.

    erased_s: how long is remembered who was erased. inactive_s: how long an entity is kept after its last event.
    """

    bytes_: int
    age_s: int
    erased_s: int
    inactive_s: int


class Forgetting:
    """One thread."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._going: Iterator[None] = iter(())
        self._current: frozenset[bytes] = frozenset()
        self._next_at = 0.0

    def turn(self, shards: Shards, live: Live) -> None:
        """Do one bit, or begin a round once in a while."""
        current = frozenset(version.key for version in live.versions)
        if current != self._current:  # what the round takes for a former version may be computed again
            self._current = current
            self.restart()
        if next(self._going, self) is self and time.monotonic() >= self._next_at:
            self._next_at = time.monotonic() + _EVERY_S
            self._going = self._round(dict(shards), current)

    def restart(self) -> None:
        """Leave the round that is going on: shards were read anew."""
        self._going = iter(())

    def _round(self, shards: Shards, current: frozenset[bytes]) -> Iterator[None]:
        now_ms = time.time_ns() // 1_000_000
        for shard in shards.values():
            yield from self._versions(shard, current, now_ms)
            yield from self._erased(shard, now_ms)
            yield from self._inactive(shard, now_ms)

    def _versions(self, shard: Shard, current: frozenset[bytes], now_ms: int) -> Iterator[None]:
        former: defaultdict[str, list[tuple[int, bytes]]] = defaultdict(list)
        for key in (shard.predictions | shard.fills.keys() | shard.due) - current:
            record = shard.fills.get(key)
            former[model_of(key)[0]].append((record.stopped_ms if record else 0, key))
        for kept in former.values():
            left = self._budget.bytes_
            for stopped_ms, key in sorted(kept, reverse=True):  # the last one that served first
                left -= _size(shard, PREDICTIONS + key)
                if left >= 0 and now_ms - stopped_ms <= self._budget.age_s * 1000:
                    continue
                yield from self._drop(shard, key)

    def _drop(self, shard: Shard, key: bytes) -> Iterator[None]:
        for name in (PREDICTIONS + key, DUE + key):
            while not shard.store.drop(shard.number, shard.cursor, name, _PAGE):
                yield
        shard.write([Change(FILLS, key, None)])
        shard.fills.pop(key, None)
        shard.predictions.discard(key)
        shard.due.discard(key)
        model, version = model_of(key)
        log.info("predictions.dropped", model=model, version=version, shard=shard.number)
        yield

    def _inactive(self, shard: Shard, now_ms: int) -> Iterator[None]:
        """Let go of entities that have done nothing for long: else the store grows with everybody who ever came."""
        least = active_since(max(0, now_ms - self._budget.inactive_s * 1000)) + 1
        while old := shard.store.ranked(shard.number, ACTIVE, _PAGE, least=least):
            changes: list[Change | Rank] = []
            for entity, _ in old:
                changes += [Change(STATES, entity, None), Rank(ACTIVE, entity, None)]
                changes += [Change(PREDICTIONS + key, entity, None) for key in shard.predictions]
                changes += [Rank(DUE + key, entity, None) for key in shard.due]
            shard.write(changes)
            log.info("entities.forgotten", shard=shard.number, entities=len(old))
            yield

    def _erased(self, shard: Shard, now_ms: int) -> Iterator[None]:
        most = max(0, now_ms - self._budget.erased_s * 1000)
        while old := shard.store.ranked(shard.number, ERASED, _PAGE, most=most):
            changes: list[Change | Rank] = []
            for entity, _ in old:
                changes += [Change(ERASED, entity, None), Rank(ERASED, entity, None)]
            shard.write(changes)
            yield


def _size(shard: Shard, space: bytes) -> int:
    """Estimate the bytes of a space by a sample of its entries."""
    sample = [len(key) + len(value) for key, value in islice(shard.store.scan(shard.number, space), _SAMPLE)]
    return shard.store.count(shard.number, space) * sum(sample) // len(sample) if sample else 0
