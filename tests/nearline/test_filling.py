"""Backfill and schedule: predictions are made due for a version that is new, wider, or back."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protos.records import MILLION, Share
from protos.traffic import version_for
from serving.bundles.nearline import DAY_MS, NearlineSettings
from serving.models.loaded import LoadedModel
from serving.models.places import ACTIVE, HOUR_MS, PREDICTIONS, STATES, activity_score, key_of
from serving.nearline import filling
from serving.nearline.urgency import BACKFILL, EVENT, SCHEDULED, band_of, score
from serving.store.port import Change, Rank
from tests.builders.bundles import again
from tests.builders.nearline import SHARDS, Rig, rig, shard_of
from tests.builders.states import document
from tests.builders.truth import check_drained
from tests.builders.waiting import wait_until
from tests.store.stores import Store

HERE = [f"e{number}" for number in range(400) if shard_of(f"e{number}") == 0]
MANY = [f"e{number}" for number in range(80)]


def populate(r: Rig, model: LoadedModel, entities: list[str] | None = None) -> None:
    """Let entities be active, with predictions by a version."""
    r.serve(model)
    for entity in entities or MANY:
        r.happen(entity, "item-1")
    r.settle()


def computed(r: Rig, loaded: LoadedModel, entities: list[str] | None = None) -> int:
    return sum(r.entry(loaded, entity) is not None for entity in entities or MANY)


def test_a_new_version_is_computed_for_everybody_active(store: Store, model: LoadedModel, second: LoadedModel) -> None:
    with rig(store) as r:
        populate(r, model)
        r.serve(second)
        r.settle()
        assert computed(r, second) == len(MANY)
        check_drained(r, [second])


def test_progress_is_recorded_and_told(store: Store, model: LoadedModel, second: LoadedModel) -> None:
    with rig(store) as r:
        populate(r, model, HERE[:40])
        r.serve(second)
        r.slow(second)
        r.step()
        begun = r.fill(second)
        assert begun is not None
        assert (begun.known, begun.claims) == (False, ((0, MILLION),))
        r.settle()
        done = r.fill(second)
        assert done is not None
        assert (done.known, done.total, done.left, done.stopped_ms) == (True, 40, 0, 0)
        r.consumer._tell()
        told = [(total, left) for _, version, total, left in r.made.backfilled if version == 2]
        assert told[-1] == (40, 0)
        former = r.fill(model)
        assert former is not None
        assert former.stopped_ms > 0


def test_whoever_was_active_last_goes_first(store: Store, model: LoadedModel) -> None:
    with rig(store) as r:
        r.step()
        shard = r.consumer._owned.shards[0]
        now = int(time.time() * 1000) // HOUR_MS
        hours = {entity: now - (7 * number) % 20 for number, entity in enumerate(HERE[:20])}
        changes: list[Change | Rank] = []
        for entity, hour in hours.items():
            changes.append(Change(STATES, entity.encode(), document("item-1")))
            changes.append(Rank(ACTIVE, entity.encode(), activity_score(hour * HOUR_MS)))
        shard.write(changes)
        r.serve(model)
        r.slow(model)
        r.step()
        order = list(r.due(model))
        assert [hours[entity] for entity in order] == sorted(hours.values(), reverse=True)
        assert {band_of(rank) for rank in r.due(model).values()} == {BACKFILL}
        ((chunk, _),) = r.made.lanes._busy.values()
        assert [row.entity.decode() for row in chunk.rows] == order[: len(chunk.rows)]
        assert 0 < len(chunk.rows) < len(order)


def test_only_what_is_missing_is_computed(store: Store, model: LoadedModel, second: LoadedModel) -> None:
    with rig(store) as r:
        populate(r, model, HERE[:40])
        r.serve(second)
        r.settle()
        before = r.made.counted("predictions")
        r.serve(model)
        r.settle()
        assert r.made.counted("predictions") == before, "the former version's predictions are still right"
        r.serve(second)
        r.consumer._owned.shards[0].write([Change(PREDICTIONS + key_of(second), HERE[3].encode(), None)])
        r.settle()
        assert computed(r, second, HERE[:40]) == 40
        assert (r.made.counted("predictions") or 0) - (before or 0) == 1


@pytest.mark.parametrize("page", [1, 7, 2000])
def test_a_fill_that_a_restart_interrupted_is_finished(
    store: Store, model: LoadedModel, second: LoadedModel, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    monkeypatch.setattr(filling, "_PAGE", page)
    with rig(store) as r:
        populate(r, model, HERE[:20])
        r.serve(second)
        r.slow(second)
        r.step()
        r.anew()
        r.step()
        r.anew()
        r.settle()
        assert computed(r, second, HERE[:20]) == 20
        record = r.fill(second)
        assert record is not None
        assert (record.known, record.total, record.left) == (True, 20, 0)


def shares(first: int) -> tuple[Share, ...]:
    return (Share(2, first), Share(1, MILLION - first))


def test_a_version_with_a_share_is_filled_for_its_own_entities_alone(
    store: Store, model: LoadedModel, second: LoadedModel
) -> None:
    with rig(store) as r:
        populate(r, model)
        r.put("m", shares(300_000), model, second)
        r.settle()
        own = {entity for entity in MANY if version_for(shares(300_000), "m", entity.encode()) == 2}
        assert {entity for entity in MANY if r.entry(second, entity)} == own
        records = [r.fill(second, shard) for shard in range(SHARDS)]
        assert sum(record.total for record in records if record) == len(own)


def test_widening_a_share_fills_what_it_adds_and_narrowing_fills_nothing(
    store: Store, model: LoadedModel, second: LoadedModel
) -> None:
    with rig(store) as r:
        populate(r, model)
        r.put("m", shares(300_000), model, second)
        r.settle()
        before = r.made.counted("predictions") or 0
        r.put("m", shares(600_000), model, second)
        r.settle()
        own = [[e for e in MANY if version_for(shares(s), "m", e.encode()) == 2] for s in (300_000, 600_000)]
        assert {e for e in MANY if r.entry(second, e)} == set(own[1])
        assert (r.made.counted("predictions") or 0) - before == len(own[1]) - len(own[0])
        r.put("m", shares(300_000), model, second)
        r.settle()
        assert (r.made.counted("predictions") or 0) - before == len(own[1]) - len(own[0])
        check_drained(r, [model, second])


def test_a_version_that_comes_back_is_filled_for_whoever_changed_meanwhile(
    store: Store, model: LoadedModel, second: LoadedModel
) -> None:
    with rig(store) as r:
        populate(r, model, HERE[:10])
        r.serve(second)
        r.settle()
        r.happen(HERE[0], "item-5")
        r.settle()
        assert r.entry(model, HERE[0]) is None
        r.serve(model)
        r.settle()
        assert r.items(model, HERE[0]) == ["item-2", "item-6", "item-3"]
        check_drained(r, [model])


def test_by_schedule_everybody_active_lately_is_computed_anew(store: Store, model: LoadedModel) -> None:
    nightly = again(model, every="1s", active_within="1d")
    with rig(store) as r:
        populate(r, nightly, HERE[:10])
        shard = r.consumer._owned.shards[0]
        long_ago = activity_score(time.time_ns() // 1_000_000 - 3 * 24 * HOUR_MS)
        shard.write([Rank(ACTIVE, HERE[9].encode(), long_ago)])
        first = {entity: r.entry(nightly, entity) for entity in HERE[:10]}

        def anew() -> bool:
            r.step()
            return all(r.entry(nightly, entity) != first[entity] for entity in HERE[:9])

        wait_until(anew)
        assert r.entry(nightly, HERE[9]) == first[HERE[9]]


def test_what_is_more_urgent_than_the_schedule_stays_so(store: Store, model: LoadedModel) -> None:
    nightly = again(model, every="1s")
    with rig(store) as r:
        populate(r, nightly, HERE[:3])
        r.slow(nightly)
        shard = r.consumer._owned.shards[0]
        shard.due.add(key_of(nightly))
        urgent = score(EVENT, 1)
        shard.write([Rank(b"d" + key_of(nightly), HERE[0].encode(), urgent)])
        record = shard.fills[key_of(nightly)]
        with r.made.engine.live.lease() as live:
            list(r.made.engine.turns.filling._schedule(shard, live.versions[0], record))
        marks = r.due(nightly)
        assert marks[HERE[0]] == urgent
        assert {band_of(marks[entity]) for entity in HERE[1:3]} == {SCHEDULED}


def test_who_was_not_active_for_long_is_not_filled(store: Store, model: LoadedModel, second: LoadedModel) -> None:
    new = again(second, version=2, active_within="1h")
    with rig(store) as r:
        populate(r, model, HERE[:6])
        long_ago = activity_score(int((time.time() - 4 * 3600) * 1000))
        r.consumer._owned.shards[0].write([Rank(ACTIVE, HERE[0].encode(), long_ago)])
        r.serve(new)
        r.settle()
        assert [r.entry(new, entity) is None for entity in HERE[:6]] == [True] + [False] * 5
        record = r.fill(new, 0)
        assert record is not None
        assert record.total == 5


def test_everybody_is_looked_at_in_pages_and_in_turns_of_a_bounded_time(
    store: Store, model: LoadedModel, second: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filling, "_PAGE", 2)
    with rig(store) as r:
        populate(r, model, HERE[:9])
        r.serve(second)
        turns = r.made.engine.turns
        with r.made.engine.live.lease() as live:
            shards, count = r.consumer._owned.shards, 0
            while turns.filling.turn(shards, live, 0.0):
                count += 1
        assert count >= 5, "a page a turn, where a turn has no time"
        r.settle()
        assert computed(r, second, HERE[:9]) == 9


@given(st.integers(0, 1 << 41), st.integers(0, 3 * DAY_MS))
def test_once_a_day_at_a_time_it_is_due(last_ms: int, later_ms: int) -> None:
    settings = NearlineSettings(at="03:30")
    at_ms = (3 * 60 + 30) * 60_000
    crossed = (last_ms - at_ms) // DAY_MS != (last_ms + later_ms - at_ms) // DAY_MS
    assert settings.is_due(last_ms, last_ms + later_ms) == crossed
