"""Events become states and predictions, once, whatever happens: a worker in its thread, over both stores."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from protos.dead_letter import DeadLetter
from serving.bus.port import Bus
from serving.errors import StoreUnavailableError
from serving.models.answers import message_of, read_message
from serving.models.loaded import LoadedModel
from serving.models.places import PREDICTIONS, STATES, key_of
from serving.nearline.worker import Group, NearlineWorker
from serving.recipes.event import encode_event
from serving.store.port import Cursor, StoreWriter
from tests.builders.bundles import serve
from tests.builders.buses import TOPICS, Connect, append, everything
from tests.builders.nearline import EVENTS, SHARDS, Made, Setup, shard_of
from tests.builders.waiting import wait_until
from tests.store.stores import Store

DEAD = TOPICS.dead_letters.name


class Scene:
    """One near-line worker over the files in a folder."""

    def __init__(self, store: Store, model: LoadedModel, setup: Setup) -> None:
        self.folder, self.model = store.folder, model
        self.connect = Connect(store.folder)
        self.made = Made(setup)
        serve(self.made.table, model)
        self.store_away = False
        self.refused = 0

        def open_store() -> StoreWriter:
            if self.store_away:
                self.refused += 1
                raise StoreUnavailableError("away")
            return store.writer()

        group = Group("group", TOPICS, batch=100)
        self.worker = NearlineWorker(self.connect, open_store, group, self.made.engine)
        self.store = store.writer()
        self.bus: Bus = Connect(store.folder)()
        self.bus.ensure_topics(TOPICS.all())

    def happen(self, entity: str, item: str, ts: int = 1) -> None:
        self.bus.append(EVENTS, *encode_event(entity, {"item": item}, ts_ms=ts))

    def positions(self) -> dict[int, int]:
        log = self.bus.identity(EVENTS)
        found = {shard: self.store.cursor(shard) for shard in range(SHARDS)}
        return {shard: at for shard, cursor in found.items() if cursor and (at := cursor.offset(log))}

    def wait_consumed(self) -> None:
        ends = {shard: end for shard, end in self.bus.end_offsets(EVENTS).items() if end}
        wait_until(lambda: self.positions() == ends, f"expected the positions {ends}")

    def states(self) -> dict[bytes, bytes]:
        return {key: value for shard in range(SHARDS) for key, value in self.store.scan(shard, STATES)}

    def items(self, entity: str) -> list[str]:
        (stored,) = self.store.read(shard_of(entity), PREDICTIONS + key_of(self.model), [entity.encode()])
        return list(read_message(message_of(stored)).item_ids) if stored else []

    def moved(self, entity: str, by: int) -> Cursor:
        cursor = self.store.cursor(shard_of(entity))
        assert cursor is not None
        events = self.bus.identity(EVENTS)
        return Cursor(tuple((log, at + by if log == events else at) for log, at in cursor.positions))

    def close(self) -> None:
        self.worker.stop()
        self.store.close()
        self.bus.close()


@contextmanager
def scene(store: Store, model: LoadedModel, setup: Setup | None = None) -> Iterator[Scene]:
    made = Scene(store, model, setup or Setup())
    try:
        made.worker.start()
        yield made
    finally:
        made.close()


def test_events_become_states_predictions_and_positions(store: Store, model: LoadedModel) -> None:
    with scene(store, model) as s:
        for number in range(20):
            s.happen(f"e{number}", "item-1", 1)
            s.happen(f"e{number}", "item-5", 2)
        s.wait_consumed()
        assert s.items("e3") == ["item-2", "item-6", "item-3"]
    assert (s.made.counted("events"), s.made.counted("dead_letters")) == (40, 0)


def test_events_from_before_the_worker_started_are_not_missed(store: Store, model: LoadedModel) -> None:
    append(store.folder, EVENTS, encode_event("e1", {"item": "item-1"}))
    with scene(store, model) as s:
        s.wait_consumed()
        assert s.items("e1") == ["item-2", "item-3", "item-0"]


def test_a_poison_event_is_dead_lettered_and_others_go_on(store: Store, model: LoadedModel) -> None:
    poison = b'{"fields": {"item": "\\ud800"}}'
    with scene(store, model) as s:
        s.happen("e1", "item-1")
        append(store.folder, EVENTS, (b"e1", poison), (b"e1", b"\xc1"), (b"x" * 300, b"{}"))
        s.happen("e1", "item-5", 2)
        s.wait_consumed()
        assert s.items("e1") == ["item-2", "item-6", "item-3"]
    letters = [DeadLetter.decode(record.value or b"") for record in everything(store.folder, DEAD)]
    by_value = {letter.value: letter for letter in letters}
    assert len(letters) == 3
    assert (by_value[poison].topic, by_value[poison].partition) == (EVENTS, shard_of("e1"))
    assert by_value[poison].reason == "fields.item: expected valid UTF-8, got '\\ud800'"
    assert by_value[b"\xc1"].offset == by_value[poison].offset + 1
    assert s.made.counted("dead_letters") == 3


def test_an_event_on_the_wrong_partition_is_dead_lettered_and_makes_no_second_state(
    store: Store, model: LoadedModel
) -> None:
    wrong = (shard_of("e1") + 1) % SHARDS
    with scene(store, model) as s:
        append(store.folder, EVENTS, encode_event("e1", {"item": "item-1"}), partition=wrong)
        s.wait_consumed()
        assert s.states() == {}
    (record,) = everything(store.folder, DEAD)
    letter = DeadLetter.decode(record.value or b"")
    assert (letter.partition, letter.reason[:11]) == (wrong, "partition: ")


def test_a_restart_continues_and_applies_nothing_twice(store: Store, model: LoadedModel) -> None:
    with scene(store, model) as s:
        s.happen("e1", "item-1", 1)
        s.wait_consumed()
        before = s.states()
    with scene(store, model) as s:
        assert s.states() == before
        s.happen("e1", "item-5", 2)
        s.wait_consumed()
        assert s.items("e1") == ["item-2", "item-6", "item-3"]
    assert s.made.counted("events") == 1


def test_a_replay_from_the_start_gives_the_same_states(store: Store, model: LoadedModel) -> None:
    with scene(store, model) as s:
        for number in range(30):
            s.happen(f"e{number % 7}", f"item-{number % 20}", number)
        s.wait_consumed()
        before = s.states()
        offered = {f"e{n}": s.items(f"e{n}") for n in range(7)}
    writer = store.writer()
    for shard in range(SHARDS):
        if (end := writer.cursor(shard)) is not None:
            # As if the position had been lost, but not the states.
            writer.write(shard, end, Cursor(tuple((log, 0) for log, _ in end.positions)), [])
    writer.close()
    with scene(store, model) as s:
        s.wait_consumed()
        assert s.states() == before
        assert {f"e{n}": s.items(f"e{n}") for n in range(7)} == offered


def test_a_worker_whose_shard_was_taken_meanwhile_writes_nothing_and_continues_there(
    store: Store, model: LoadedModel
) -> None:
    with scene(store, model) as s:
        s.happen("e1", "item-1", 1)
        s.wait_consumed()
        s.worker.stop()
        # Somebody else has applied the next event already.
        shard = shard_of("e1")
        s.store.write(shard, s.store.cursor(shard), s.moved("e1", 1), [])
        s.happen("e1", "item-5", 2)
        s.happen("e1", "item-7", 3)
    with scene(store, model) as s:
        s.wait_consumed()
        assert s.items("e1") == ["item-2", "item-8", "item-3"]


def test_a_log_that_was_created_again_is_read_from_its_start(store: Store, model: LoadedModel) -> None:
    writer = store.writer()
    writer.write(shard_of("e1"), None, Cursor((("another log", 1_000),)), [])
    writer.close()
    with scene(store, model) as s:
        s.happen("e1", "item-1")
        s.wait_consumed()
        assert s.items("e1") == ["item-2", "item-3", "item-0"]


def test_while_the_bus_is_away_the_worker_waits_and_then_goes_on(store: Store, model: LoadedModel) -> None:
    append(store.folder, EVENTS, encode_event("e1", {"item": "item-1"}))
    made = Scene(store, model, Setup())
    made.connect.away = True
    made.worker.start()
    wait_until(lambda: made.connect.refused)
    made.connect.away = False
    made.wait_consumed()
    assert made.items("e1") == ["item-2", "item-3", "item-0"]
    made.close()


def test_while_the_store_cannot_be_opened_the_worker_waits_and_then_goes_on(store: Store, model: LoadedModel) -> None:
    append(store.folder, EVENTS, encode_event("e1", {"item": "item-1"}))
    made = Scene(store, model, Setup())
    made.store_away = True
    made.worker.start()
    wait_until(lambda: made.refused)
    made.store_away = False
    made.wait_consumed()
    assert made.items("e1") == ["item-2", "item-3", "item-0"]
    made.close()


@pytest.mark.parametrize("workers", [2, 3])
def test_workers_of_a_group_share_the_events_and_apply_each_once(
    store: Store, model: LoadedModel, workers: int
) -> None:
    made = [Scene(store, model, Setup()) for _ in range(workers)]
    for one in made:
        one.worker.start()
    for number in range(60):
        made[0].happen(f"e{number}", "item-1")
    made[0].wait_consumed()
    wait_until(lambda: all(made[0].items(f"e{number}") for number in range(60)))
    for one in made:
        one.close()
    assert sum(one.made.counted("events") or 0 for one in made) == 60
