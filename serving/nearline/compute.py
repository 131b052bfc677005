"""One step: from the events of a batch to the changes of its shard: states, and a prediction per entity and version.

What is stored of a version is what it says of the entity's state now, or is marked as due. Where neither can be had
(the model fails, the event is too old, the version is not computed any more), the entry goes: online does better than
an answer from yesterday's state.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from serving.models.places import ACTIVE, ERASED, PREDICTIONS, STATES, activity_score
from serving.nearline.costs import Costs
from serving.nearline.intake import Happened, Intake
from serving.nearline.live import Live, LiveVersion
from serving.nearline.running import Failed, Row, run
from serving.nearline.shard import Shard
from serving.nearline.urgency import EVENT, score
from serving.recipes.event import Event
from serving.recipes.fold import fold
from serving.store.port import Change, Rank


@dataclass(frozen=True, slots=True)
class Limits:
    """What a step may take.

    lateness_s: how much older than the entity's newest event one may be. share_s: time that a version gets in a step.
    oldest_s: events that happened earlier than that before now cause no prediction; None = all do.
    """

    lateness_s: int
    share_s: float
    oldest_s: int | None = None


@dataclass(slots=True)
class Step:
    """What a step is to write, and what is to be told of it."""

    changes: list[Change | Rank] = field(default_factory=list)
    predictions: int = 0
    marked: int = 0
    applied: int = 0
    duplicates: int = 0
    late: list[Event] = field(default_factory=list)


@dataclass(slots=True)
class _Touched:
    """An entity whose state changed."""

    row: Row
    happened: Happened


class Computer:
    """Folds events into states and runs the versions that are live. One thread."""

    def __init__(self, limits: Limits, costs: Costs, failed: Failed) -> None:
        self._limits = limits
        self._costs = costs
        self._failed = failed

    def step(self, shard: Shard, intake: Intake, live: Live) -> Step:
        """Return what has to be written for a batch of events."""
        step = Step()
        touched = self._fold(shard, intake, live, step)
        if touched:
            for version in live.versions:
                self._compute(shard, version, touched, step)
            current = {version.key for version in live.versions}
            for key in shard.predictions - current:
                step.changes += [Change(PREDICTIONS + key, one.row.entity, None) for one in touched]
        return step

    def _fold(self, shard: Shard, intake: Intake, live: Live, step: Step) -> list[_Touched]:
        happened = _after_erasure(shard, intake)
        entities = list(happened)
        touched = []
        lateness_ms = self._limits.lateness_s * 1000
        for entity, document in zip(entities, shard.store.read(shard.number, STATES, entities), strict=True):
            what = happened[entity]
            folded = fold(document, what.events, live.tracks, lateness_ms)
            step.duplicates += folded.duplicates
            step.late += folded.late
            if not folded.applied:
                continue
            step.applied += folded.applied
            step.changes.append(Change(STATES, entity, folded.document))
            if shard.is_new_activity(entity, what.append_ms):
                step.changes.append(Rank(ACTIVE, entity, activity_score(what.append_ms)))
            touched.append(_Touched(Row(entity, folded.document, folded.newest_ms + 1), what))
        return touched

    def _compute(self, shard: Shard, version: LiveVersion, touched: Sequence[_Touched], step: Step) -> None:
        settings = version.predictor.settings
        wanted: list[_Touched] = []
        rest: list[_Touched] = []
        for one in touched:
            if settings.triggers and not any(event.type in settings.triggers for event in one.happened.events):
                continue
            (wanted if version.wants(one.row.entity) and not self._too_old(one.row) else rest).append(one)
        if rest and version.key in shard.predictions:
            step.changes += [Change(version.space, one.row.entity, None) for one in rest]
        if not wanted:
            return
        fitting = self._costs.fitting(version.key, self._limits.share_s * version.weight)
        if fitting < len(wanted) and settings.event_priorities:
            wanted.sort(key=lambda one: _band(version, one))
        done = self._run(shard, version, wanted, step) if fitting else 0
        for one in wanted[done:]:
            step.changes.append(Rank(version.due, one.row.entity, score(_band(version, one), one.happened.append_ms)))
        if done < len(wanted):
            step.marked += len(wanted) - done
            shard.due.add(version.key)

    def _run(self, shard: Shard, version: LiveVersion, wanted: Sequence[_Touched], step: Step) -> int:
        """Compute as many as fit into the version's share of time; return how many."""
        began = time.perf_counter()
        done = 0
        while done < len(wanted):
            left_s = self._limits.share_s * version.weight - (time.perf_counter() - began)
            count = self._costs.fitting(version.key, left_s) if left_s > 0 else 0
            if not count:
                break
            rows = [one.row for one in wanted[done : done + count]]
            part_began = time.perf_counter()
            found = run(version, rows, self._failed)
            self._costs.observe(version.key, len(rows), time.perf_counter() - part_began)
            step.changes += [Change(version.space, row.entity, stored) for row, stored in zip(rows, found, strict=True)]
            step.predictions += sum(stored is not None for stored in found)
            done += len(rows)
        shard.predictions.add(version.key)
        if version.key in shard.due:
            step.changes += [Rank(version.due, one.row.entity, None) for one in wanted[:done]]
        return done

    def _too_old(self, row: Row) -> bool:
        oldest_s = self._limits.oldest_s
        return oldest_s is not None and row.instant < time.time() * 1000 - oldest_s * 1000


def _after_erasure(shard: Shard, intake: Intake) -> dict[bytes, Happened]:
    """Leave out what was appended before its entity was erased: nothing of it comes back by a replay."""
    if not shard.erased:
        return intake.happened
    entities = list(intake.happened)
    found = {}
    for entity, stored in zip(entities, shard.store.read(shard.number, ERASED, entities), strict=True):
        what = intake.happened[entity]
        kept = what if stored is None else what.since(int.from_bytes(stored))
        if kept.events:
            found[entity] = kept
    return found


def _band(version: LiveVersion, one: _Touched) -> int:
    priorities = version.predictor.settings.event_priorities
    ordinary = 5
    return EVENT + min(priorities.get(event.type, ordinary) for event in one.happened.events)
