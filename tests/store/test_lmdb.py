"""What only the store over LMDB has to stand: killed processes, a full map, damaged files."""

import signal
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import serving.environments
from serving.environments import Durability
from serving.errors import PositionConflictError, StoreFullError, StoreUnavailableError
from serving.store.lmdb_writer import LmdbWriter
from serving.store.port import Change, Key, Rank
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


def big(numbers: Iterable[int], size: int = 4000) -> list[Change]:
    return [Change(STATE, b"big-%d" % number, bytes(size)) for number in numbers]


def test_a_write_that_grows_the_store_beyond_its_budget_is_refused_whole(store: Store) -> None:
    writer = LmdbWriter(store.folder / "store", 1 << 20, "batch")
    writer.write(0, None, at(1), batch(1))
    with pytest.raises(StoreFullError, match=r"store: \d+ of 1048576 bytes are in use"):
        writer.write(0, at(1), at(2), [*batch(2), *big(range(1000))])
    assert writer.cursor(0) == at(1)
    assert set(store.reads([Key(0, STATE, key) for key in KEYS])) == {b"1"}
    assert set(writer.ranks(0, b"r", KEYS)) == {1}
    used, budget = writer.usage()
    assert budget is not None
    assert 0 < used < budget == 1 << 20
    writer.close()


def test_a_store_at_its_budget_still_moves_on_updates_and_removes(store: Store) -> None:
    writer = LmdbWriter(store.folder / "store", 1 << 20, "batch")
    writer.write(0, None, at(1), [*batch(1), *big(range(200))])
    writer.close()
    writer = LmdbWriter(store.folder / "store", 1 << 19, "batch")  # its owner has thought better of it
    used, budget = writer.usage()
    assert budget is not None
    assert used > budget
    with pytest.raises(StoreFullError):
        writer.write(0, at(1), at(2), big(range(200, 300)))
    writer.write(0, at(1), at(2), [Change(STATE, key, b"2") for key in KEYS])
    writer.write(0, at(2), at(3), [Change(STATE, b"big-0", None), Rank(b"r", KEYS[0], None)])
    while not writer.drop(0, at(3), STATE, 50):
        pass
    assert writer.usage().bytes_used < budget
    writer.write(0, at(3), at(4), big(range(20)))
    assert writer.count(0, STATE) == 20
    writer.close()


def test_freed_pages_are_room_again(store: Store) -> None:
    writer = LmdbWriter(store.folder / "store", 2 << 20, "batch")
    for offset in range(0, 40, 2):
        writer.write(0, at(offset) if offset else None, at(offset + 1), big(range(200)))
        writer.write(0, at(offset + 1), at(offset + 2), [Change(STATE, c.key, None) for c in big(range(200))])
    assert writer.usage().bytes_used < 1 << 16
    writer.close()


@pytest.mark.parametrize("durability", ["batch", "process"])
def test_a_disk_without_room_refuses_the_whole_batch_until_there_is_some(
    tmp_path: Path, durability: Durability
) -> None:
    """A file system of 1 MiB."""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", tmp_path], check=False)  # noqa: S607
    if mounted.returncode:
        pytest.skip("only root may mount")
    try:
        writer = LmdbWriter(tmp_path / "store", BUDGET, durability)
        writer.write(0, None, at(1), batch(1))
        ballast = tmp_path / "ballast"
        with ballast.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))
        for _ in range(3):
            with pytest.raises(StoreFullError):
                writer.write(0, at(1), at(2), [*batch(2), *big(range(100))])
        assert writer.cursor(0) == at(1)
        assert set(writer.read(0, STATE, KEYS)) == {b"1"}
        ballast.unlink()
        writer.write(0, at(1), at(2), [*batch(2), *big(range(50))])
        assert set(writer.read(0, STATE, KEYS)) == {b"2"}
        writer.close()
    finally:
        subprocess.run(["umount", tmp_path], check=True)  # noqa: S607


def test_a_file_that_may_not_grow_refuses_the_whole_batch_until_it_may(store: Store) -> None:
    child = store.child("limited")
    assert child.communicate()[0].splitlines() == ["StoreUnavailableError", "1", "2"]


def test_members_that_move_and_leave_leave_no_keys_behind(writer: LmdbWriter) -> None:
    def keys() -> int:
        with writer._lease.reading() as transaction:
            return int(transaction.stat(writer._lease.main)["entries"])

    writer.write(0, None, at(1), [])
    for score in range(5):
        writer.write(0, at(1), at(1), [Rank(b"r", b"a", score), Rank(b"r", b"b", score)])
        assert keys() == 1 + 2 * 2 + 1  # cursor; each member's score and place; the size
    writer.write(0, at(1), at(1), [Rank(b"r", b"a", None), Rank(b"r", b"b", None)])
    assert keys() == 1


def test_a_damaged_score_takes_its_member_out_of_the_order(writer: LmdbWriter) -> None:
    writer.write(0, None, at(1), [Rank(b"r", b"a", 1), Rank(b"r", b"b", 2)])
    with writer._lease.writing() as transaction:
        transaction.put(b"R\0\0\x01ra", b"\0\0\0\0damaged")
    assert writer.ranked(0, b"r", 10) == [(b"b", 2)]
    assert writer.ranks(0, b"r", [b"a", b"b"]) == [None, 2]
    writer.write(0, at(1), at(2), [Rank(b"r", b"a", 3)])
    assert writer.ranked(0, b"r", 10) == [(b"b", 2), (b"a", 3)]
    while not writer.drop(0, at(2), b"r", 1):
        pass
    assert (writer.rankings(0), writer.ranks(0, b"r", [b"a"]), writer.size(0, b"r")) == ([], [None], 0)


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
    assert (writer.spaces(0), writer.rankings(0), writer.size(0, b"r")) == ([], [], 0)
    assert set(writer.read(1, STATE, KEYS)) == {b"1"}
    writer.write(0, None, at(1), batch(1))
    assert writer.cursor(0) == at(1)
