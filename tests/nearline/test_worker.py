"""Events become states and predictions, once, whatever happens: the embedded bus, LMDB and a real model."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from protos.dead_letter import DeadLetter
from protos.partition import partition_of
from serving.bus.embedded.bus import EmbeddedBus
from serving.models.answers import PREDICTIONS, prediction_key, read_entry, read_message
from serving.models.loaded import LoadedModel
from serving.models.table import ActiveTable
from serving.nearline.compute import Computer
from serving.nearline.worker import NearlineWorker
from serving.recipes.event import encode_event
from serving.recipes.history import STATES, History, state_key
from serving.recipes.recipe import LastN
from serving.store.connect import connect_writer
from serving.store.port import Cursor
from serving.telemetry.metrics import Metrics
from tests.builders.bundles import load, serve
from tests.builders.buses import TOPICS, Connect, append, everything
from tests.builders.waiting import wait_until

EVENTS, DEAD = TOPICS.events.name, TOPICS.dead_letters.name


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load(tmp_path_factory.mktemp("bundle"))


class Scene:
    """One near-line worker over the files in a folder."""

    def __init__(self, folder: Path, model: LoadedModel) -> None:
        self.folder, self.model = folder, model
        self.registry = CollectorRegistry()
        self.connect = Connect(folder)
        table = ActiveTable()
        serve(table, model)
        self.worker = NearlineWorker(
            self.connect,
            lambda: connect_writer("lmdb", folder, "t"),
            TOPICS,
            "group",
            Computer(table, lambda _loaded, _error: None),
            Metrics(self.registry),
            batch=100,
        )
        self.store = connect_writer("lmdb", folder, "t")

    def happen(self, entity: str, item: str, ts: int = 1) -> None:
        append(self.folder, EVENTS, encode_event(entity, {"item": item}, ts_ms=ts))

    def cursors(self) -> dict[int, int]:
        found = {shard: self.store.cursor(shard) for shard in range(TOPICS.event_partitions)}
        return {shard: cursor.positions[0][1] for shard, cursor in found.items() if cursor}

    def wait_consumed(self) -> None:
        bus = EmbeddedBus(self.folder / "bus")
        ends = {shard: end for shard, end in bus.end_offsets(EVENTS).items() if end}
        bus.close()
        wait_until(lambda: self.cursors() == ends, f"expected the cursors {ends}")

    def contents(self) -> dict[tuple[int, bytes, bytes], bytes]:
        return {
            (shard, space, key): value
            for shard in range(TOPICS.event_partitions)
            for space in self.store.spaces(shard)
            for key, value in self.store.scan(shard, space)
        }

    def items(self, entity: str) -> list[str]:
        key = prediction_key(self.model, entity.encode())
        (entry,) = self.store.read(shard_of(entity), PREDICTIONS, [key])
        return list(read_message(read_entry(entry)[1]).item_ids) if entry else []

    def history(self, entity: str) -> list[str]:
        key = state_key(LastN(n=1), entity.encode())
        return History.decode(self.store.read(shard_of(entity), STATES, [key])[0]).values

    def counted(self, name: str) -> float | None:
        return self.registry.get_sample_value(f"nearline_{name}_total")


def moved(cursor: Cursor, *, to: int) -> Cursor:
    return Cursor(((cursor.positions[0][0], to),))


def shard_of(entity: str) -> int:
    return partition_of(entity.encode(), TOPICS.event_partitions)


@contextmanager
def scene(folder: Path, model: LoadedModel) -> Iterator[Scene]:
    made = Scene(folder, model)
    try:
        made.worker.start()
        yield made
    finally:
        made.worker.stop()
        made.store.close()


def test_events_become_states_predictions_and_cursors(model: LoadedModel, tmp_path: Path) -> None:
    with scene(tmp_path, model) as s:
        for number in range(20):
            s.happen(f"e{number}", "item-1", 1)
            s.happen(f"e{number}", "item-5", 2)
        s.wait_consumed()
        assert s.history("e3") == ["item-1", "item-5"]
        assert s.items("e3") == ["item-2", "item-6", "item-3"]
    assert (s.counted("events"), s.counted("dead_letters")) == (40, 0)


def test_events_from_before_the_worker_started_are_not_missed(model: LoadedModel, tmp_path: Path) -> None:
    append(tmp_path, EVENTS, encode_event("e1", {"item": "item-1"}))
    with scene(tmp_path, model) as s:
        s.wait_consumed()
        assert s.history("e1") == ["item-1"]


def test_a_poison_event_is_dead_lettered_and_others_go_on(model: LoadedModel, tmp_path: Path) -> None:
    poison = b'{"fields": {"item": "\\ud800"}}'
    with scene(tmp_path, model) as s:
        s.happen("e1", "item-1")
        append(tmp_path, EVENTS, (b"e1", poison), (b"e1", b"\xc1"), (b"x" * 300, b"{}"))
        s.happen("e1", "item-5", 2)
        s.wait_consumed()
        assert s.history("e1") == ["item-1", "item-5"]
    letters = [DeadLetter.decode(record.value or b"") for record in everything(tmp_path, DEAD)]
    by_value = {letter.value: letter for letter in letters}
    assert len(letters) == 3
    assert (by_value[poison].topic, by_value[poison].partition) == (EVENTS, shard_of("e1"))
    assert by_value[poison].reason == "fields.item: expected valid UTF-8, got '\\ud800'"
    assert by_value[b"\xc1"].offset == by_value[poison].offset + 1
    assert s.counted("dead_letters") == 3


def test_an_event_on_the_wrong_partition_is_dead_lettered_and_makes_no_second_state(
    model: LoadedModel, tmp_path: Path
) -> None:
    wrong = (shard_of("e1") + 1) % TOPICS.event_partitions
    with scene(tmp_path, model) as s:
        append(tmp_path, EVENTS, encode_event("e1", {"item": "item-1"}), partition=wrong)
        s.wait_consumed()
        assert s.contents() == {}
    (record,) = everything(tmp_path, DEAD)
    letter = DeadLetter.decode(record.value or b"")
    assert (letter.partition, letter.reason[:11]) == (wrong, "partition: ")


def test_a_restart_continues_and_applies_nothing_twice(model: LoadedModel, tmp_path: Path) -> None:
    with scene(tmp_path, model) as s:
        s.happen("e1", "item-1", 1)
        s.wait_consumed()
        before = s.contents()
    with scene(tmp_path, model) as s:
        assert s.contents() == before
        s.happen("e1", "item-5", 2)
        s.wait_consumed()
        assert s.history("e1") == ["item-1", "item-5"]
    assert s.counted("events") == 1


def test_a_replay_from_the_start_gives_the_same_states(model: LoadedModel, tmp_path: Path) -> None:
    with scene(tmp_path, model) as s:
        for number in range(30):
            s.happen(f"e{number % 7}", f"item-{number % 20}", number)
        s.wait_consumed()
        before = {key: value for key, value in s.contents().items() if key[1] == STATES}
        offered = {f"e{n}": s.items(f"e{n}") for n in range(7)}
    store = connect_writer("lmdb", tmp_path, "t")
    for shard in range(TOPICS.event_partitions):
        if (end := store.cursor(shard)) is not None:
            store.write(shard, end, moved(end, to=0), [])  # as if the position had been lost, but not the states
    store.close()
    with scene(tmp_path, model) as s:
        s.wait_consumed()
        assert {key: value for key, value in s.contents().items() if key[1] == STATES} == before
        assert {f"e{n}": s.items(f"e{n}") for n in range(7)} == offered


def test_a_worker_whose_shard_was_taken_meanwhile_writes_nothing_and_continues_there(
    model: LoadedModel, tmp_path: Path
) -> None:
    with scene(tmp_path, model) as s:
        s.happen("e1", "item-1", 1)
        s.wait_consumed()
        shard = shard_of("e1")
        cursor = s.store.cursor(shard)
        assert cursor is not None
        # Somebody else has applied the next event already.
        s.store.write(shard, cursor, moved(cursor, to=cursor.positions[0][1] + 1), [])
        s.happen("e1", "item-5", 2)
        s.happen("e1", "item-7", 3)
        s.wait_consumed()
        assert s.history("e1") == ["item-1", "item-7"]


def test_a_log_that_was_created_again_is_read_from_its_start(model: LoadedModel, tmp_path: Path) -> None:
    store = connect_writer("lmdb", tmp_path, "t")
    store.write(shard_of("e1"), None, Cursor((("another log", 1_000),)), [])
    store.close()
    with scene(tmp_path, model) as s:
        s.happen("e1", "item-1")
        s.wait_consumed()
        assert s.history("e1") == ["item-1"]


def test_while_the_bus_is_away_the_worker_waits_and_then_goes_on(model: LoadedModel, tmp_path: Path) -> None:
    append(tmp_path, EVENTS, encode_event("e1", {"item": "item-1"}))
    made = Scene(tmp_path, model)
    made.connect.away = True
    made.worker.start()
    wait_until(lambda: made.connect.refused)
    made.connect.away = False
    made.wait_consumed()
    made.worker.stop()
    assert made.history("e1") == ["item-1"]
    made.store.close()
