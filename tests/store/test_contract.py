"""What every store promises (serving/store/port.py), checked on each of them."""

import asyncio
import itertools
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.errors import PositionConflictError, StoreUnavailableError
from serving.store.port import Change, Cursor, Key, StoreWriter, Table
from tests.store.stores import Store, end, hear
from tests.store.writing import KEYS

STATE, PREDICTION = Table.STATE, Table.PREDICTION
# LMDB's keys have at most 511 bytes, three of which are table and shard.
LONGEST_KEY = b"k" * 508

_fresh = itertools.count(1000)


@pytest.fixture(params=["lmdb", pytest.param("redis", marks=pytest.mark.redis)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    url = "lmdb" if request.param == "lmdb" else request.getfixturevalue("redis_url")
    return Store(url, tmp_path, f"test-{uuid.uuid4().hex}.")


@pytest.fixture
def writer(store: Store) -> Iterator[StoreWriter]:
    writer = store.writer()
    yield writer
    writer.close()


def at(offset: int) -> Cursor:
    return Cursor("log", offset)


def put(key: bytes, value: bytes | None, table: Table = STATE) -> Change:
    return Change(table, key, value)


def test_nothing_is_there_before_the_first_write(store: Store, writer: StoreWriter) -> None:
    assert writer.cursor(0) is None
    assert writer.read(0, STATE, [b"a"]) == [None]
    assert list(writer.scan(0, STATE)) == []
    assert store.reads([Key(0, STATE, b"a")]) == [None]


def test_what_was_written_is_read_in_the_order_asked_for(store: Store, writer: StoreWriter) -> None:
    writer.write(0, None, at(1), [put(b"a", b"1"), put(b"b", b"2")])
    assert writer.read(0, STATE, [b"b", b"none", b"a", b"b"]) == [b"2", None, b"1", b"2"]
    keys = [Key(0, STATE, b"b"), Key(0, STATE, b"none"), Key(0, STATE, b"a"), Key(0, STATE, b"b")]
    assert store.reads(keys) == [b"2", None, b"1", b"2"]


def test_asking_for_nothing_answers_nothing(store: Store, writer: StoreWriter) -> None:
    assert writer.read(0, STATE, []) == []
    assert store.reads([]) == []


def test_tables_and_shards_are_separate(store: Store, writer: StoreWriter) -> None:
    writer.write(0, None, at(1), [put(b"a", b"state"), put(b"a", b"prediction", PREDICTION)])
    writer.write(4095, None, at(7), [put(b"a", b"elsewhere")])
    keys = [Key(0, STATE, b"a"), Key(0, PREDICTION, b"a"), Key(4095, STATE, b"a"), Key(4095, PREDICTION, b"a")]
    assert store.reads(keys) == [b"state", b"prediction", b"elsewhere", None]
    assert writer.read(0, PREDICTION, [b"a"]) == [b"prediction"]
    assert list(writer.scan(0, STATE)) == [(b"a", b"state")]
    assert (writer.cursor(0), writer.cursor(4095), writer.cursor(1)) == (at(1), at(7), None)


def test_the_last_change_of_a_key_in_a_batch_counts(writer: StoreWriter) -> None:
    writer.write(0, None, at(1), [put(b"a", b"1"), put(b"a", None), put(b"a", b"2"), put(b"b", b"1"), put(b"b", None)])
    assert writer.read(0, STATE, [b"a", b"b"]) == [b"2", None]


def test_a_batch_without_changes_moves_the_cursor(writer: StoreWriter) -> None:
    writer.write(0, None, at(1), [])
    writer.write(0, at(1), at(2), [])
    assert writer.cursor(0) == at(2)


def test_a_deleted_entry_is_missing_and_deleting_it_again_does_no_harm(store: Store, writer: StoreWriter) -> None:
    writer.write(0, None, at(1), [put(b"a", b"1"), put(b"b", b"1")])
    writer.write(0, at(1), at(2), [put(b"a", None)])
    writer.write(0, at(2), at(3), [put(b"a", None), put(b"never", None)])
    assert store.reads([Key(0, STATE, b"a"), Key(0, STATE, b"b")]) == [None, b"1"]
    assert list(writer.scan(0, STATE)) == [(b"b", b"1")]


@pytest.mark.parametrize("expected", [None, at(0), at(2), Cursor("other", 1)])
def test_a_write_at_another_cursor_writes_nothing(writer: StoreWriter, expected: Cursor | None) -> None:
    writer.write(0, None, at(1), [put(b"a", b"1"), put(b"b", b"1")])
    with pytest.raises(PositionConflictError, match=r"shard 0.*got Cursor\(log='log', offset=1\)"):
        writer.write(0, expected, at(9), [put(b"a", b"2"), put(b"b", None), put(b"c", b"2")])
    assert writer.read(0, STATE, [b"a", b"b", b"c"]) == [b"1", b"1", None]
    assert writer.cursor(0) == at(1)


def test_a_write_that_expects_a_cursor_where_there_is_none_writes_nothing(writer: StoreWriter) -> None:
    with pytest.raises(PositionConflictError, match="got None"):
        writer.write(0, at(1), at(2), [put(b"a", b"1")])
    assert writer.read(0, STATE, [b"a"]) == [None]
    assert writer.cursor(0) is None


def test_a_zombie_can_write_nothing_after_another_owner_went_on(store: Store, writer: StoreWriter) -> None:
    writer.write(0, None, at(1), [put(b"a", b"1")])
    zombie = store.writer()
    seen = zombie.cursor(0)
    writer.write(0, at(1), at(2), [put(b"a", b"2")])
    for _ in range(2):
        with pytest.raises(PositionConflictError):
            zombie.write(0, seen, at(2), [put(b"a", b"zombie")])
    assert writer.read(0, STATE, [b"a"]) == [b"2"]
    zombie.close()


def test_a_replayed_write_is_refused_and_the_cursor_says_where_to_go_on(writer: StoreWriter) -> None:
    writer.write(0, None, at(5), [put(b"count", b"5")])
    with pytest.raises(PositionConflictError):
        writer.write(0, None, at(5), [put(b"count", b"10")])
    cursor = writer.cursor(0)
    assert cursor == at(5)
    writer.write(0, cursor, at(6), [put(b"count", b"6")])
    assert writer.read(0, STATE, [b"count"]) == [b"6"]


def test_keys_may_be_long_and_hold_any_byte(store: Store, writer: StoreWriter) -> None:
    keys = [LONGEST_KEY, b"\0", b"\xff" * 508, bytes(range(256)), b"*", b"[a]?", b"{0}:"]
    writer.write(0, None, at(1), [put(key, key[::-1]) for key in keys])
    assert store.reads([Key(0, STATE, key) for key in keys]) == [key[::-1] for key in keys]
    assert sorted(writer.scan(0, STATE)) == sorted((key, key[::-1]) for key in keys)


def test_values_may_be_empty_or_large(store: Store, writer: StoreWriter) -> None:
    large = bytes(range(256)) * (8 << 12)
    writer.write(0, None, at(1), [put(b"large", large), put(b"empty", b"")])
    assert store.reads([Key(0, STATE, b"empty"), Key(0, STATE, b"large")]) == [b"", large]


def test_a_batch_may_have_tens_of_thousands_of_changes(store: Store, writer: StoreWriter) -> None:
    count = 20_000
    writer.write(0, None, at(1), [put(b"%d" % i, b"v%d" % i) for i in range(count)])
    assert writer.read(0, STATE, [b"%d" % i for i in range(count)]) == [b"v%d" % i for i in range(count)]
    assert store.reads([Key(0, STATE, b"%d" % i) for i in range(count)]) == [b"v%d" % i for i in range(count)]
    assert dict(writer.scan(0, STATE)) == {b"%d" % i: b"v%d" % i for i in range(count)}
    writer.write(0, at(1), at(2), [put(b"%d" % i, None) for i in range(count)])
    assert list(writer.scan(0, STATE)) == []


def test_many_reads_at_once_each_get_their_own_answer(store: Store, writer: StoreWriter) -> None:
    for shard in range(4):
        writer.write(shard, None, at(1), [put(b"%d" % i, b"%d/%d" % (shard, i)) for i in range(250)])

    async def run() -> None:
        reader = store.reader()
        wanted = [(i % 4, i // 4) for i in range(2000)]
        answers = await asyncio.gather(
            *(reader.read([Key(shard, STATE, b"%d" % i), Key(shard, STATE, b"0")]) for shard, i in wanted)
        )
        for (shard, i), answer in zip(wanted, answers, strict=True):
            assert answer == [b"%d/%d" % (shard, i) if i < 250 else None, b"%d/0" % shard]
        await reader.close()

    asyncio.run(run())


def test_a_cancelled_read_leaves_the_others_alone(store: Store, writer: StoreWriter) -> None:
    writer.write(0, None, at(1), [put(b"a", b"1")])

    async def run() -> None:
        reader = store.reader()
        for _ in range(20):
            reads = [asyncio.ensure_future(reader.read([Key(0, STATE, b"a")])) for _ in range(4)]
            await asyncio.sleep(0)
            reads[0].cancel()
            assert await asyncio.gather(*reads[1:]) == [[b"1"]] * 3
        await reader.close()

    asyncio.run(run())


def test_a_closed_reader_is_a_store_that_is_away(store: Store) -> None:
    async def run() -> None:
        reader = store.reader()
        await reader.read([Key(0, STATE, b"a")])
        await reader.close()
        with pytest.raises(StoreUnavailableError):
            await reader.read([Key(0, STATE, b"a")])

    asyncio.run(run())


def test_a_reader_sees_what_another_process_wrote(store: Store) -> None:
    assert store.reads([Key(0, STATE, KEYS[0])]) == [None]
    child = store.child("once")
    child.communicate()
    assert child.returncode == 0
    assert store.reads([Key(0, STATE, KEYS[0]), Key(0, STATE, KEYS[-1])]) == [b"1", b"1"]


def test_a_killed_writer_leaves_its_batch_whole_or_not_at_all(store: Store, writer: StoreWriter) -> None:
    for _ in range(3):
        child = store.child("forever")
        hear(child)
        end(child)
        # The server may still be running the last script of the one that was killed; it is one step all the same.
        while True:
            cursor = writer.cursor(0)
            values = set(writer.read(0, STATE, KEYS))
            if writer.cursor(0) == cursor:
                break
        assert cursor is not None
        assert values == {b"%d" % cursor.offset}


_changes = st.lists(
    st.builds(
        Change,
        st.sampled_from(list(Table)),
        st.binary(min_size=1, max_size=2),
        st.one_of(st.none(), st.binary(max_size=8)),
    ),
    max_size=8,
)
_writes = st.lists(st.tuples(st.integers(0, 1), st.sampled_from(["right", "stale", "none"]), _changes), max_size=12)


@given(writes=_writes)
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_sequence_of_writes_equals_a_dict(writer: StoreWriter, writes: list[tuple[int, str, list[Change]]]) -> None:
    shards = [next(_fresh), next(_fresh)]
    entries: dict[tuple[int, Table], dict[bytes, bytes]] = {(s, t): {} for s in shards for t in Table}
    cursors: dict[int, Cursor | None] = dict.fromkeys(shards)
    for offset, (which, guess, changes) in enumerate(writes):
        shard = shards[which]
        expected = {"right": cursors[shard], "stale": at(-1), "none": None}[guess]
        if expected != cursors[shard]:
            with pytest.raises(PositionConflictError):
                writer.write(shard, expected, at(offset), changes)
            continue
        writer.write(shard, expected, at(offset), changes)
        cursors[shard] = at(offset)
        for change in changes:
            if change.value is None:
                entries[shard, change.table].pop(change.key, None)
            else:
                entries[shard, change.table][change.key] = change.value
    for shard in shards:
        assert writer.cursor(shard) == cursors[shard]
        for table in Table:
            assert dict(writer.scan(shard, table)) == entries[shard, table]
            keys = sorted({change.key for _, _, changes in writes for change in changes})
            expected_values = [entries[shard, table].get(key) for key in keys]
            assert writer.read(shard, table, keys) == expected_values
