"""What every store promises (serving/store/port.py), checked on each of them."""

import asyncio

import pytest

from serving.errors import InvalidRequestError, PositionConflictError, StoreUnavailableError
from serving.store.port import MAX_KEY, MAX_NAME, MAX_SCORE, Change, Cursor, Key, Rank, StoreWriter
from tests.store.stores import Store, at, end, hear
from tests.store.writing import KEYS

STATE, PREDICTION = b"s", b"p/m\0\x01"
LONGEST_KEY = b"k" * MAX_KEY
LONGEST_NAME = b"n" * MAX_NAME


def put(key: bytes, value: bytes | None, space: bytes = STATE) -> Change:
    return Change(space, key, value)


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


def test_spaces_and_shards_are_separate(store: Store, writer: StoreWriter) -> None:
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


@pytest.mark.parametrize("expected", [None, at(0), at(2), at(1, "other")])
def test_a_write_at_another_cursor_writes_nothing(writer: StoreWriter, expected: Cursor | None) -> None:
    writer.write(0, None, at(1), [put(b"a", b"1"), put(b"b", b"1")])
    with pytest.raises(PositionConflictError, match=r"shard 0.*got Cursor\(positions=\(\('log', 1\),\)\)"):
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
    keys = [LONGEST_KEY, b"\0", b"\xff" * MAX_KEY, bytes(range(256)), b"*", b"[a]?", b"{0}:"]
    writer.write(0, None, at(1), [put(key, key[::-1]) for key in keys])
    assert store.reads([Key(0, STATE, key) for key in keys]) == [key[::-1] for key in keys]
    assert sorted(writer.scan(0, STATE)) == sorted((key, key[::-1]) for key in keys)


def test_names_may_be_long_and_hold_any_byte(writer: StoreWriter) -> None:
    names = [LONGEST_NAME, b"\0", b"\xff", b"\xff" * MAX_NAME, b"p/m\0\x01\xff", b"*", b"{0}:", b"s", b"ss"]
    for offset, name in enumerate(names):
        changes: list[Change | Rank] = [
            put(LONGEST_KEY, name, name),
            put(b"", b"empty", name),
            Rank(name, LONGEST_KEY, MAX_SCORE),
        ]
        writer.write(0, at(offset) if offset else None, at(offset + 1), changes)
    assert writer.spaces(0) == writer.rankings(0) == sorted(names)
    for name in names:
        assert sorted(writer.scan(0, name)) == [(b"", b"empty"), (LONGEST_KEY, name)]
        assert writer.ranked(0, name, 10) == [(LONGEST_KEY, MAX_SCORE)]
    assert writer.spaces(1) == writer.rankings(1) == []


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        (put(LONGEST_KEY + b"k", b"1"), "key"),
        (put(b"b", b"1", LONGEST_NAME + b"n"), "name"),
        (put(b"b", b"1", b""), "name"),
        (Rank(b"r", LONGEST_KEY + b"k", 1), "key"),
        (Rank(b"", b"b", 1), "name"),
        (Rank(b"r", b"b", -1), "score"),
        (Rank(b"r", b"b", MAX_SCORE + 1), "score"),
    ],
)
def test_what_is_beyond_the_limits_is_refused_with_its_whole_batch(
    writer: StoreWriter, bad: Change | Rank, field: str
) -> None:
    with pytest.raises(InvalidRequestError, match=f"^{field}: expected .* got "):
        writer.write(0, None, at(1), [put(b"a", b"1"), bad])
    assert writer.cursor(0) is None
    assert writer.read(0, STATE, [b"a"]) == [None]


def test_asking_beyond_the_limits_is_refused(store: Store, writer: StoreWriter) -> None:
    for ask in (
        lambda: writer.read(0, STATE, [LONGEST_KEY + b"k"]),
        lambda: writer.read(0, b"", [b"a"]),
        lambda: writer.ranks(0, b"r", [LONGEST_KEY + b"k"]),
        lambda: writer.ranked(0, b"r", 0),
        lambda: writer.drop(0, None, STATE, 0),
        lambda: store.reads([Key(0, STATE, LONGEST_KEY + b"k")]),
        lambda: store.reads([Key(0, b"", b"a")]),
    ):
        with pytest.raises(InvalidRequestError):
            ask()


def test_spaces_are_counted_and_named_while_they_hold_anything(writer: StoreWriter) -> None:
    writer.write(0, None, at(1), [put(b"%d" % i, b"1") for i in range(2500)])
    writer.write(0, at(1), at(2), [put(b"a", b"1", PREDICTION), put(b"b", None, b"nothing")])
    assert writer.spaces(0) == [PREDICTION, STATE]
    assert (writer.count(0, STATE), writer.count(0, PREDICTION), writer.count(0, b"nothing")) == (2500, 1, 0)
    writer.write(0, at(2), at(3), [put(b"a", None, PREDICTION)])
    assert writer.spaces(0) == [STATE]


def test_a_scan_may_be_left_and_writes_may_go_on_between_its_pages(writer: StoreWriter) -> None:
    writer.write(0, None, at(1), [put(b"%d" % i, b"1") for i in range(5000)])
    scan = writer.scan(0, STATE)
    seen = {next(scan)[0]}
    writer.write(0, at(1), at(2), [put(b"new", b"1"), put(b"%d" % 1, b"2")])
    seen |= {key for key, _ in scan}
    assert seen - {b"new"} == {b"%d" % i for i in range(5000)}
    next(writer.scan(0, STATE))


def test_a_cursor_holds_positions_of_several_logs(writer: StoreWriter) -> None:
    cursor = Cursor((("events", 7), ("commands", 3)))
    writer.write(0, None, cursor, [])
    assert writer.cursor(0) == cursor
    assert (cursor.offset("events"), cursor.offset("commands"), cursor.offset("other")) == (7, 3, None)
    with pytest.raises(PositionConflictError):
        writer.write(0, Cursor((("events", 7), ("commands", 4))), at(8), [])


def test_a_write_may_leave_the_cursor_where_it_is(writer: StoreWriter) -> None:
    writer.write(0, None, at(1), [put(b"a", b"1")])
    for value in (b"2", b"3"):
        writer.write(0, at(1), at(1), [put(b"a", value)])
    assert writer.read(0, STATE, [b"a"]) == [b"3"]
    with pytest.raises(PositionConflictError):
        writer.write(0, at(2), at(2), [put(b"a", b"4")])


def test_dropping_removes_a_bounded_amount_at_a_time(writer: StoreWriter) -> None:
    name = b"both"
    ranks: list[Change | Rank] = [Rank(name, b"%d" % i, i) for i in range(50)]
    writer.write(0, None, at(1), [*(put(b"%d" % i, b"1", name) for i in range(100)), *ranks, put(b"a", b"1")])

    def left() -> int:
        return writer.count(0, name) + writer.size(0, name)

    assert [(writer.drop(0, at(1), name, 40), left()) for _ in range(4)] == [
        (False, 110), (False, 70), (False, 30), (True, 0),
    ]  # fmt: skip
    assert writer.drop(0, at(1), name, 40)
    assert writer.drop(0, at(1), b"never", 1)
    assert (writer.spaces(0), writer.rankings(0), writer.ranked(0, name, 10)) == ([STATE], [], [])
    assert writer.cursor(0) == at(1)


def test_exactly_as_much_as_there_is_is_dropped_at_once(writer: StoreWriter) -> None:
    writer.write(0, None, at(1), [put(b"a", b"1", b"n"), Rank(b"n", b"a", 1)])
    assert writer.drop(0, at(1), b"n", 2)


def test_dropping_at_another_cursor_removes_nothing(writer: StoreWriter) -> None:
    writer.write(0, None, at(1), [put(b"a", b"1")])
    for expected in (None, at(2)):
        with pytest.raises(PositionConflictError):
            writer.drop(0, expected, STATE, 10)
    assert writer.read(0, STATE, [b"a"]) == [b"1"]


def test_usage_grows_with_what_is_stored(writer: StoreWriter) -> None:
    before = writer.usage().bytes_used
    writer.write(0, None, at(1), [put(b"%d" % i, bytes(2000)) for i in range(1000)])
    assert writer.usage().bytes_used > before + 1_000_000


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


def test_reading_without_waiting_equals_reading_where_it_is_possible(store: Store, writer: StoreWriter) -> None:
    writer.write(0, None, at(1), [put(b"a", b"1")])
    keys = [Key(0, STATE, b"a"), Key(0, STATE, b"b")]

    async def run() -> None:
        reader = store.reader()
        now = reader.read_now(keys)
        assert now == (await reader.read(keys) if store.url == "lmdb" else None)
        await reader.close()

    asyncio.run(run())


def test_a_slot_gives_what_reading_gives_and_the_same_object_until_that_changes(
    store: Store, writer: StoreWriter
) -> None:
    keys = [Key(0, STATE, b"a"), Key(0, STATE, b"b")]

    async def run() -> None:
        reader = store.reader()
        slots = [reader.slot(key) for key in keys]
        with pytest.raises(InvalidRequestError):
            reader.slot(Key(0, STATE, b"x" * (MAX_KEY + 1)))
        before: list[bytes | None] | None = None
        for step, changes in enumerate(
            ([], [put(b"a", b"1")], [], [put(b"a", b"2"), put(b"b", b"1")], [put(b"a", None)])
        ):
            writer.write(0, at(step) if step else None, at(step + 1), changes)
            found = reader.read_slots(slots)
            assert found == (await reader.read(keys) if store.url == "lmdb" else None)
            if before is not None and found is not None and not changes:
                assert found[0] is before[0]
            before = found
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
            scores = set(writer.ranks(0, b"r", KEYS))
            if writer.cursor(0) == cursor:
                break
        assert cursor is not None
        assert values == {b"%d" % cursor.positions[0][1]}
        assert scores == {cursor.positions[0][1]}


def test_writes_of_several_shards_together_are_all_there(store: Store, writer: StoreWriter) -> None:
    with writer.together():
        writer.write(0, None, at(1), [put(b"a", b"1")])
        writer.write(1, None, at(2), [put(b"b", b"2"), Rank(b"r", b"m", 3)])
    assert (writer.cursor(0), writer.cursor(1)) == (at(1), at(2))
    assert store.reads([Key(0, STATE, b"a"), Key(1, STATE, b"b")]) == [b"1", b"2"]
    assert writer.ranked(1, b"r", 9) == [(b"m", 3)]
    writer.write(0, at(1), at(5), [])
    assert writer.cursor(0) == at(5)


def test_a_conflict_among_writes_together_is_raised_and_each_of_them_is_whole_or_absent(writer: StoreWriter) -> None:
    writer.write(1, None, at(7), [])

    def conflicting() -> None:
        with writer.together():
            writer.write(0, None, at(1), [put(b"a", b"1"), put(b"b", b"1")])
            writer.write(1, at(6), at(8), [put(b"c", b"1")])

    with pytest.raises(PositionConflictError, match="shard 1"):
        conflicting()
    first = (writer.cursor(0), writer.read(0, STATE, [b"a", b"b"]))
    assert first in [(None, [None, None]), (at(1), [b"1", b"1"])]
    assert (writer.cursor(1), writer.read(1, STATE, [b"c"])) == (at(7), [None])
