"""What only the store over LMDB has to stand: killed processes, a full map, damaged files."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import serving.environments
from serving.errors import PositionConflictError, StoreUnavailableError
from serving.store.lmdb_writer import LmdbWriter
from serving.store.port import Change, Key
from tests.store.stores import Store, at, end, hear
from tests.store.writing import KEYS, batch

STATE = b"s"
CURSOR_KEY = b"C\0\0"
BUDGET = 1 << 30


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store("lmdb", tmp_path, "test")


@pytest.fixture
def writer(store: Store) -> Iterator[LmdbWriter]:
    writer = LmdbWriter(store.folder / "store", BUDGET, "batch")
    yield writer
    writer.close()


def test_a_writer_killed_half_way_through_a_batch_leaves_nothing_of_it(store: Store, writer: LmdbWriter) -> None:
    writer.write(0, None, at(1), batch(1))
    child = store.child("half")
    assert child.wait() == -signal.SIGKILL
    child.communicate()
    assert writer.cursor(0) == at(1)
    assert set(writer.read(0, STATE, KEYS)) == {b"1"}
    writer.write(0, at(1), at(2), batch(2))
    assert set(store.reads([Key(0, STATE, key) for key in KEYS])) == {b"2"}


def test_the_slot_of_a_killed_reader_is_swept(store: Store, writer: LmdbWriter) -> None:
    child = store.child("reading")
    assert hear(child) == "reading"
    assert f"{child.pid} " in writer._lease.environment.readers()
    end(child)
    assert f"{child.pid} " in writer._lease.environment.readers()
    writer.sweep()
    assert f"{child.pid} " not in writer._lease.environment.readers()


def test_a_full_map_refuses_the_whole_batch_and_goes_on_reading(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving.environments, "MAP_BYTES", 1 << 20)
    writer = LmdbWriter(store.folder / "store", BUDGET, "batch")
    writer.write(0, None, at(1), batch(1))
    too_much = [Change(STATE, key, bytes(8 << 10)) for key in KEYS]
    with pytest.raises(StoreUnavailableError, match="full"):
        writer.write(0, at(1), at(2), too_much)
    assert writer.cursor(0) == at(1)
    assert set(store.reads([Key(0, STATE, key) for key in KEYS])) == {b"1"}
    writer.write(0, at(1), at(2), batch(2))
    assert set(writer.read(0, STATE, KEYS)) == {b"2"}
    writer.close()


def test_a_store_that_cannot_be_opened_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreUnavailableError, match="file"):
        LmdbWriter(tmp_path / "file", BUDGET, "batch")
    (tmp_path / "garbage").mkdir()
    (tmp_path / "garbage" / "data.mdb").write_bytes(b"garbage" * 2000)
    with pytest.raises(StoreUnavailableError, match="garbage"):
        LmdbWriter(tmp_path / "garbage", BUDGET, "batch")


def test_a_damaged_value_reads_as_missing(store: Store, writer: LmdbWriter) -> None:
    writer.write(0, None, at(1), [Change(STATE, b"a", b"1"), Change(STATE, b"b", b"1")])
    with writer._lease.writing() as transaction:
        transaction.put(b"E\0\0\x01sa", b"\0\0\0\0damaged")
    assert writer.read(0, STATE, [b"a", b"b"]) == [None, b"1"]
    assert store.reads([Key(0, STATE, b"a"), Key(0, STATE, b"b")]) == [None, b"1"]
    assert list(writer.scan(0, STATE)) == [(b"b", b"1")]


def test_a_damaged_cursor_forgets_its_shard_and_no_other(writer: LmdbWriter) -> None:
    writer.write(0, None, at(1), [*batch(1), Change(b"p", b"a", b"1")])
    writer.write(1, None, at(1), batch(1))
    with writer._lease.writing() as transaction:
        transaction.put(CURSOR_KEY, b"\0\0\0\0damaged")
    for expected in (None, at(1)):
        with pytest.raises(PositionConflictError):
            writer.write(0, expected, at(2), batch(2))
    assert writer.cursor(0) is None
    assert list(writer.scan(0, STATE)) == list(writer.scan(0, b"p")) == []
    assert set(writer.read(1, STATE, KEYS)) == {b"1"}
    writer.write(0, None, at(1), batch(1))
    assert writer.cursor(0) == at(1)
