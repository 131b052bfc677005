"""Bulk loads come into the store in bits, whole or not at all, and go away again: LMDB and Redis."""

import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from protos.bulk import encode_row
from protos.commands import Erase
from protos.partition import partition_of
from serving.bus.port import Batch, Record
from serving.errors import PositionConflictError, StoreFullError
from serving.models.places import ERASED, LOADS, bulk_space, load_key
from serving.nearline.live import Live
from serving.nearline.orders import take_orders
from serving.nearline.shard import Shard
from serving.recipes.state import tracks_of
from serving.store.connect import connect_writer
from serving.store.port import Change, StoreWriter
from tests.builders.waiting import wait_until
from tests.nearline.loads import COMPUTED_MS, LOGS, SHARDS, Importer, entities, message

MANY = entities(6_000)
FEW = entities(40)


@pytest.fixture(params=["lmdb", pytest.param("redis", marks=pytest.mark.redis)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StoreWriter]:
    url = "lmdb" if request.param == "lmdb" else request.getfixturevalue("redis_url")
    writer = connect_writer(url, tmp_path, f"test-{uuid.uuid4().hex}.")
    yield writer
    writer.close()


@pytest.fixture
def importer(tmp_path: Path, store: StoreWriter) -> Importer:
    return Importer(tmp_path, store)


def test_a_load_is_complete_when_every_row_is_in_the_space_of_its_shard(importer: Importer) -> None:
    load = importer.load(1, MANY)
    importer.say(load, shown=1)
    importer.wait_complete(load)
    assert importer.items(load, MANY) == ["load-1"] * len(MANY)
    assert importer.view().imported("m", load)
    assert set(importer.left(load).values()) == {0}
    assert not importer.run()
    assert importer.counted("bulk_rows") == len(MANY)


def test_a_shard_without_a_row_is_complete_too(importer: Importer) -> None:
    load = importer.load(1, [b"e1"])
    importer.say(load, shown=1)
    importer.wait_complete(load)
    assert importer.view().imported("m", load)


def test_each_worker_imports_its_own_shards_and_it_takes_all_of_them(tmp_path: Path, store: StoreWriter) -> None:
    one, two = Importer(tmp_path, store, [0, 1]), Importer(tmp_path, store, [2, 3])
    load = one.load(1, MANY)
    for worker in (one, two):
        worker.say(load, shown=1)
    one.wait_complete(load)
    assert one.items(load, MANY) == ["load-1" if partition_of(key, SHARDS) < 2 else None for key in MANY]
    assert not one.view().imported("m", load)
    two.wait_complete(load)
    assert one.items(load, MANY) == ["load-1"] * len(MANY)
    assert one.view().imported("m", load)


def test_whoever_restarts_in_the_middle_goes_on_there(tmp_path: Path, store: StoreWriter) -> None:
    killed = Importer(tmp_path, store)
    load = killed.load(1, MANY)
    killed.say(load, shown=1)
    wait_until(lambda: killed.run(0.0) and len(killed.left(load)) == SHARDS, "progress in every shard")
    assert not killed.complete(load)
    assert not killed.view().imported("m", load)
    before = killed.left(load)
    killed.bulk.close()
    assert all(0 < left < len(MANY) for left in before.values())

    after = Importer(tmp_path, store)
    assert after.left(load) == before
    after.say(load, shown=1)
    after.wait_complete(load)
    assert after.items(load, MANY) == ["load-1"] * len(MANY)


def test_a_shard_that_somebody_else_wrote_is_begun_anew_from_what_is_stored(importer: Importer) -> None:
    load = importer.load(1, MANY)
    importer.say(load, shown=1)
    wait_until(lambda: importer.run(0.0) and importer.left(load), "progress")
    other = Shard(1, LOGS, importer.store)
    other.load()
    other.write([], other.after(events=7))

    def refused() -> bool:
        try:
            importer.run(0.0)
        except PositionConflictError:
            return True
        return False

    wait_until(refused, "a refused write")
    importer.reload()
    importer.wait_complete(load)
    assert importer.items(load, MANY) == ["load-1"] * len(MANY)
    assert importer.shards[1].positions == (7, 0)


def test_a_shard_that_was_given_away_is_left_to_its_owner(importer: Importer) -> None:
    load = importer.load(1, MANY)
    importer.say(load, shown=1)
    wait_until(lambda: importer.run(0.0), "an import that has begun")
    del importer.shards[2]
    importer.bulk.leave(2)
    importer.wait_complete(load)
    assert importer.items(load, MANY) == [None if partition_of(key, SHARDS) == 2 else "load-1" for key in MANY]


def test_nothing_of_an_entity_that_was_erased_since_comes_back(importer: Importer) -> None:
    load = importer.load(1, FEW)
    for key, erased_ms in ((b"e1", COMPUTED_MS + 1), (b"e2", COMPUTED_MS), (b"e3", COMPUTED_MS - 1)):
        shard = importer.shards[partition_of(key, SHARDS)]
        shard.write([Change(ERASED, key, erased_ms.to_bytes(8))])
        shard.erased = True
    importer.say(load, shown=1)
    importer.wait_complete(load)
    assert importer.items(load, FEW) == [None if key in {b"e1", b"e2"} else "load-1" for key in FEW]


@pytest.mark.parametrize(
    ("rows", "count", "words"),
    [
        ([encode_row(b"e1", message("a")), encode_row(b"e2", message("a", model="n"))], None, "row 1: prediction"),
        ([encode_row(b"e1", message("a")), b"\xc1"], None, "row 1: "),
        ([encode_row(b"e1", message("a")), encode_row(b"e2", message("a"))[:-3]], None, "row 1: "),
        ([encode_row(b"e1", message("a"))], 2, "row 1: "),
        ([encode_row(b"e1", message("a"))] * 2, 1, "row 1: file: expected 1 rows, got more"),
    ],
)
def test_a_file_with_anything_that_is_no_row_is_never_shown_nor_tried_again(
    importer: Importer, rows: list[bytes], count: int | None, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    load = importer.put(1, rows, count=count)
    importer.say(load, shown=1)
    wait_until(lambda: importer.run() is None or importer.counted("bulk_failures"), "a failure")
    assert not importer.run()
    assert importer.counted("bulk_failures") == 1
    assert not importer.view().imported("m", load)
    assert words in capsys.readouterr().out


def test_other_bytes_than_announced_are_never_read(importer: Importer) -> None:
    load = importer.load(1, FEW)
    Path(load.uri.removeprefix("file://")).write_bytes(b"x" * load.size)
    importer.say(load, shown=1)
    wait_until(lambda: importer.run() is None or importer.counted("bulk_failures"), "a failure")
    assert (importer.left(load), importer.counted("bulk_failures")) == ({}, 1)


def test_a_file_that_is_away_is_fetched_when_it_is_back(importer: Importer) -> None:
    load = importer.load(1, FEW)
    path = Path(load.uri.removeprefix("file://"))
    path.rename(path.with_name("away"))
    importer.say(load, shown=1)
    wait_until(lambda: importer.run() is None or importer.counted("bulk_failures"), "a failure")
    path.with_name("away").rename(path)
    importer.wait_complete(load)


def test_a_bad_load_does_not_hold_up_another_model(importer: Importer) -> None:
    bad, good = importer.put(1, [b"\xc1"]), importer.load(2, FEW)
    importer.say(bad, good, shown=1)  # the newest is imported beside the one to be seen
    importer.wait_complete(good)
    assert not importer.complete(bad)


def test_a_full_store_postpones_the_load(importer: Importer, monkeypatch: pytest.MonkeyPatch) -> None:
    load = importer.load(1, FEW)
    importer.say(load, shown=1)

    def full(*_: object) -> None:
        raise StoreFullError("full")

    with monkeypatch.context() as patched:
        patched.setattr(importer.store, "write", full)
        wait_until(lambda: importer.run() is None or importer.counted("bulk_failures"), "a failure")
    importer.reload()
    importer.wait_complete(load)


def test_the_file_goes_from_the_disk_when_the_load_is_seen(importer: Importer) -> None:
    load = importer.load(1, FEW)
    importer.say(load, shown=1)
    importer.wait_complete(load)
    assert importer.local(load).exists()
    importer.say(load, shown=1, seen=load)
    importer.run()
    assert not importer.local(load).exists()


def test_what_the_store_forgot_of_a_load_is_imported_again(importer: Importer) -> None:
    load = importer.load(1, FEW)
    importer.say(load, shown=1)
    importer.wait_complete(load)
    importer.say(load, shown=1, seen=load)
    importer.run()
    shard = importer.shards[partition_of(b"e1", SHARDS)]
    while not importer.store.drop(shard.number, shard.cursor, bulk_space("m", load), 1000):
        pass
    shard.write([Change(LOADS, load_key("m", load), None)])
    importer.reload()
    importer.wait_complete(load)
    assert importer.items(load, FEW) == ["load-1"] * len(FEW)
    importer.run()
    assert not importer.local(load).exists()


def test_only_the_seen_the_one_before_and_the_newest_stay(importer: Importer) -> None:
    loads = [importer.load(number, MANY) for number in (1, 2, 3)]
    one, two, three = loads
    for number, load in enumerate(loads, 1):
        importer.say(*loads[:number], shown=number, seen=loads[number - 2] if number > 1 else None)
        importer.wait_complete(load)
    # The third is there, and the second still seen: the first goes.
    importer.say(*loads, shown=3, seen=two)
    wait_until(lambda: not importer.run(0.0) and not importer.left(one), "the first load dropped")
    assert importer.items(one, MANY[:50]) == [None] * 50
    assert not any(bulk_space("m", one) in importer.store.spaces(shard) for shard in range(SHARDS))
    assert importer.complete(two)
    assert importer.complete(three)
    # Back by two: all of it has to be imported again, and the newest stays.
    importer.say(*loads, shown=1, seen=three)
    assert not importer.view().imported("m", one)
    importer.wait_complete(one)
    assert importer.items(one, MANY) == ["load-1"] * len(MANY)
    importer.say(*loads, shown=1, seen=one)
    wait_until(lambda: not importer.run(0.0) and not importer.left(two), "the second load dropped")
    assert importer.complete(three)


def test_a_load_that_is_wanted_again_before_it_is_dropped_is_there_at_once(tmp_path: Path, store: StoreWriter) -> None:
    importer = Importer(tmp_path, store)
    loads = [importer.load(number, FEW) for number in (1, 2, 3)]
    importer.say(loads[0], shown=1)
    importer.wait_complete(loads[0])
    importer.say(*loads, shown=3, seen=loads[2])
    importer.forgetting._grace_s = 3600
    wait_until(lambda: importer.run() is None or not importer.complete(loads[0]), "noted that nobody wants it")
    importer.say(*loads, shown=1, seen=loads[2])
    importer.run()
    assert importer.complete(loads[0])
    assert importer.items(loads[0], FEW) == ["load-1"] * len(FEW)


def test_what_the_ledger_does_not_know_yet_is_not_dropped(importer: Importer) -> None:
    one, two = importer.load(1, FEW), importer.load(2, FEW)
    importer.say(one, two, shown=2)
    importer.wait_complete(two)
    importer.say(one, shown=1, seen=one)  # a worker whose ledger is behind
    for _ in range(3):
        importer.run()
    assert importer.complete(two)


def test_a_load_of_the_same_number_in_a_new_ledger_is_another_one(importer: Importer) -> None:
    old = importer.load(1, FEW)
    importer.say(old, shown=1)
    importer.wait_complete(old)
    new = replace(importer.load(7, FEW), number=1)
    importer.say(new, shown=1)
    assert not importer.view().imported("m", new)
    importer.wait_complete(new)
    wait_until(lambda: not importer.run() and not importer.left(old), "the old one dropped")
    assert importer.items(new, FEW) == ["load-7"] * len(FEW)


def test_the_view_does_not_remember_a_load_that_nobody_waits_for(importer: Importer) -> None:
    load = importer.load(1, FEW)
    importer.say(load, shown=1)
    importer.wait_complete(load)
    view = importer.view()
    assert view.imported("m", load)
    importer.say(load, shown=1, seen=load)
    importer.learn(view)
    assert not view.imported("m", load)


def test_an_erasure_reaches_every_load(importer: Importer) -> None:
    loads = [importer.load(number, FEW) for number in (1, 2)]
    importer.say(*loads, shown=1)
    for load in loads:
        importer.wait_complete(load)
    shard = importer.shards[partition_of(b"e1", SHARDS)]
    record = Record(0, COMPUTED_MS + 1, *Erase(b"e1").encode())
    orders = take_orders(shard, Batch("commands", shard.number, [record]), Live((), tracks_of(())))
    shard.write(orders.changes)
    for load in loads:
        assert importer.items(load, [b"e1", b"e2"]) == [None, f"load-{load.number}"]


def test_a_load_and_its_progress_are_named_by_the_file(importer: Importer) -> None:
    load = importer.load(1, FEW)
    assert load_key("m", load) != load_key("m", replace(load, sha256="0" * 64))
    assert len(bulk_space("m" * 64, replace(load, number=1 << 62))) <= 120
