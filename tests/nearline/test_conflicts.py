"""Who else writes, and a store that is away or full: step by step."""

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.errors import BusUnavailableError, StoreUnavailableError
from serving.models.answers import read_message
from serving.models.loaded import LoadedModel
from serving.nearline import consuming
from serving.store.connect import connect_writer
from serving.store.port import Change
from tests.builders.folders import quick_folder
from tests.builders.nearline import EVENTS, Rig, Setup, rig, shard_of
from tests.builders.states import document
from tests.builders.truth import check_drained
from tests.builders.waiting import wait_until
from tests.servers.redis import RedisServer
from tests.store.stores import Store


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try a store that was away again at once."""
    monkeypatch.setattr(consuming, "_AWAY_S", 0.001)


def test_a_worker_that_was_overtaken_writes_nothing_and_goes_on_where_the_store_stands(
    store: Store, model: LoadedModel
) -> None:
    with rig(store) as r:
        r.serve(model)
        r.happen("a", "item-1", 1)
        r.settle()
        r.move("a", 1)  # somebody else has applied the next event already
        r.happen("a", "item-5", 2)
        r.happen("a", "item-7", 3)
        r.settle()
        assert r.items(model, "a") == ["item-2", "item-8", "item-3"]
        assert r.made.counted("events") == 2


def test_a_worker_whose_store_moved_back_applies_again_what_was_lost(store: Store, model: LoadedModel) -> None:
    with rig(store) as r:
        r.serve(model)
        shard = shard_of("a")
        r.happen("a", "item-1", 1)
        r.settle()
        old = {place: value for place, value in r.contents().items() if place[0] == shard}
        cursor = r.looking.cursor(shard)
        assert cursor is not None
        r.happen("a", "item-5", 2)
        r.settle()
        newest = r.items(model, "a")
        # A replica takes over that had not heard of the last write.
        changes = [Change(space, key, value) for (_, space, key), value in old.items()]
        r.looking.write(shard, r.looking.cursor(shard), cursor, list(changes))
        assert r.items(model, "a") != newest
        r.happen("b", "item-1")
        r.happen("a", "item-7", 3)
        r.settle()
        assert r.items(model, "a") == ["item-2", "item-6", "item-8"]
        check_drained(r, [model])


def test_a_store_that_moved_back_is_noticed_though_nothing_happens(store: Store, model: LoadedModel) -> None:
    with rig(store) as r:
        r.serve(model)
        r.happen("a", "item-1", 1)
        r.settle()
        r.move("a", -1)
        assert not r.caught_up()
        r.look()
        r.catch_up()


def test_an_entity_is_active_again_when_its_shard_is_read_anew(store: Store, model: LoadedModel) -> None:
    """A store that moved back over an hour's end forgot who was active in the hour before."""
    with rig(store) as r:
        r.serve(model)
        r.settle()
        shard = r.consumer._owned.shards[shard_of("a")]
        assert shard.is_new_activity(b"a", 1 << 42)  # far in the future
        assert not shard.is_new_activity(b"a", 1 << 42)
        shard.load()
        assert shard.is_new_activity(b"a", 1 << 42)


def test_while_redis_is_away_nothing_is_consumed_and_then_it_goes_on(
    own_redis: RedisServer, tmp_path: Path, model: LoadedModel
) -> None:
    with rig(Store(own_redis.url, tmp_path, "t.")) as r:
        r.serve(model)
        r.happen("a", "item-1", 1)
        r.settle()
        own_redis.kill()
        r.happen("a", "item-5", 2)
        for _ in range(3):
            with_store_away(r)
        assert (r.made.counted("store_failures") or 0) >= 1
        own_redis.start()  # empty: it forgot everything, positions and effects together
        r.settle()
        assert r.items(model, "a") == ["item-2", "item-6", "item-3"]
        check_drained(r, [model])


def test_an_event_that_came_while_the_store_was_away_for_a_moment_is_not_lost(store: Store, model: LoadedModel) -> None:
    with rig(store) as r:
        r.serve(model)
        r.happen("a", "item-1", 1)
        r.settle()
        r.happen("a", "item-5", 2)
        r.consumer._member.poll(0)  # as a step does that then finds the store away
        r.consumer._pause(StoreUnavailableError("away"))
        r.happen("a", "item-7", 3)
        r.settle()
        assert r.items(model, "a") == ["item-2", "item-6", "item-8"]


def with_store_away(r: Rig) -> None:
    """Step, as the worker's loop would: it makes a new consumer when this one gives up."""
    try:
        r.step()
    except StoreUnavailableError:
        r.anew()


def test_a_full_store_stops_the_position_until_there_is_room(tmp_path: Path, model: LoadedModel) -> None:
    folder = tmp_path
    with rig(Store("lmdb", folder, "t")) as r:
        r.serve(model)
        r.happen("a", "item-1", 1)
        r.settle()
        r.use(connect_writer("lmdb", folder, "t", store_bytes=1))
        r.happen("a", "item-5", 2)
        others = [e for e in (f"e{number}" for number in range(400)) if shard_of(e) == shard_of("a")]
        for entity in others:
            r.happen(entity, "item-1")
        at = r.looking.cursor(shard_of("a"))
        for _ in range(3):
            r.step()
        assert (r.looking.cursor(shard_of("a")), r.caught_up()) == (at, False)
        assert r.items(model, "a") == ["item-2", "item-3", "item-0"], "what is there is still read"
        assert (r.made.counted("store_failures") or 0) >= 1
        waiting = r.made.registry.get_sample_value("nearline_lag_records") or 0
        assert waiting >= len(others), "what waits is told all the while"
        assert r.made.registry.get_sample_value("nearline_paused") == 1
        r.use(connect_writer("lmdb", folder, "t"))
        r.settle()
        assert r.made.registry.get_sample_value("nearline_paused") == 0
        assert r.items(model, "a") == ["item-2", "item-6", "item-3"]


def test_a_partition_that_stands_still_makes_a_new_consumer_necessary(store: Store, model: LoadedModel) -> None:
    with rig(store, Setup(stall_s=0.01)) as r:
        r.serve(model)
        r.settle()
        r.happen("a", "item-1")
        end = r.bus.end_offsets(EVENTS)[shard_of("a")]
        r.consumer._member.poll(0)  # it takes the record, and nobody ever sees it
        r.consumer._member.seek(shard_of("a"), end - 1)
        r.consumer._look()
        began = time.monotonic()
        wait_until(lambda: time.monotonic() > began + 0.02)
        with pytest.raises(BusUnavailableError, match="connecting anew"):
            r.consumer._look()
        r.anew()
        r.settle()
        assert r.items(model, "a") == ["item-2", "item-3", "item-0"]


DO = st.lists(st.sampled_from(["event", "step", "back", "anew", "overtake"]), min_size=1, max_size=25)


@settings(max_examples=25)
@given(DO)
def test_whatever_interrupts_it_every_event_has_its_effect_once(model: LoadedModel, acts: list[str]) -> None:
    """But for those that somebody else claims to have applied."""
    applied: list[str] = []
    waiting: list[str] = []
    claimed = False  # going back behind what somebody else claimed would apply it after all
    with quick_folder() as folder, rig(Store("lmdb", folder, "t")) as r:
        r.serve(model)
        for number, act in enumerate(acts):
            if act == "event":
                waiting.append(f"item-{number % 20}")
                r.happen("a", waiting[-1], number)
            elif act == "step":
                r.catch_up()
                applied, waiting = applied + waiting, []
            elif act == "anew":
                r.anew()
            elif act == "overtake" and waiting and r.looking.cursor(shard_of("a")) and not stands_behind(r, waiting):
                r.move("a", 1)
                waiting.pop(0)
                claimed = True
            elif act == "back" and applied and not waiting and not claimed:
                r.back("a")
        r.catch_up()
        r.settle()
        applied += waiting
        assert r.items(model, "a") == expected(model, applied)


def stands_behind(r: Rig, waiting: list[str]) -> bool:
    """Whether the store's position is not just before the first event that waits."""
    cursor = r.looking.cursor(shard_of("a"))
    at = (cursor.offset(r.bus.identity(EVENTS)) or 0) if cursor else 0
    return at + len(waiting) != r.bus.end_offsets(EVENTS)[shard_of("a")]


def expected(model: LoadedModel, items: list[str]) -> list[str] | None:
    """What the model says after these items alone."""
    assert model.predictor is not None
    if not items:
        return None
    (message,) = model.predictor.predict([document(*items)], [1 << 40], 0)
    return list(read_message(message).item_ids) if message is not None else None
