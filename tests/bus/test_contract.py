"""What serving/bus/port.py promises, of every implementation."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest

from protos.partition import partition_of
from protos.topics import Kept
from serving.bus.port import Bus, Reader, Record
from serving.errors import InvalidRequestError, NotFoundError
from tests.bus.conftest import Actor, line
from tests.bus.harness import WAIT_S, Harness, fill, flat, read_all, topic, until, values

MIB = 1 << 20


# Appending


def test_an_appended_record_is_read_by_another_bus(harness: Harness, bus: Bus, name: str) -> None:
    appended = bus.append(name, b"key", b"value")
    ((partition, record),) = read_all(harness.connect(), name)
    assert (partition, record.key, record.value) == (0, b"key", b"value")
    assert (record.offset, record.timestamp_ms) == (appended.offset, appended.timestamp_ms)


def test_offsets_grow_and_append_times_do_not_fall(bus: Bus, name: str) -> None:
    before = time.time() * 1000
    appended = [bus.append(name, b"key", b"%d" % number) for number in range(20)]
    found = [record for _, record in read_all(bus, name)]
    assert [record.offset for record in found] == [entry.offset for entry in appended]
    assert all(a.offset < b.offset for a, b in pairwise(found))
    assert all(a.timestamp_ms <= b.timestamp_ms for a, b in pairwise(found))
    assert [record.timestamp_ms for record in found] == [entry.timestamp_ms for entry in appended]
    assert before - 2000 <= found[0].timestamp_ms <= time.time() * 1000 + 2000


def test_nothing_and_empty_are_two_things(bus: Bus, name: str) -> None:
    written: list[tuple[bytes | None, bytes | None]] = [
        (b"key", None),
        (None, b"value"),
        (b"", b""),
        (b"key", b""),
    ]
    for key, value in written:
        bus.append(name, key, value)
    assert [(record.key, record.value) for _, record in read_all(bus, name)] == written


def test_no_key_means_partition_0(bus: Bus, wide: str) -> None:
    assert {bus.append(wide, None, b"value").partition for _ in range(8)} == {0}
    assert {entry.partition for entry in bus.append_many(wide, [(None, b"value")] * 8)} == {0}


def test_the_key_decides_by_murmur2(bus: Bus, wide: str) -> None:
    keys = [b"entity-%d" % number for number in range(32)] + [b""]
    one_by_one = [bus.append(wide, key, key).partition for key in keys]
    together = [entry.partition for entry in bus.append_many(wide, [(key, key) for key in keys])]
    assert one_by_one == together == [partition_of(key, 4) for key in keys]
    assert all(partition == partition_of(record.key or b"", 4) for partition, record in read_all(bus, wide))


def test_an_explicit_partition_wins(bus: Bus, wide: str) -> None:
    key = b"key"
    other = (partition_of(key, 4) + 1) % 4
    assert bus.append(wide, key, b"value", partition=other).partition == other
    assert [partition for partition, _ in read_all(bus, wide)] == [other]


@pytest.mark.parametrize("partition", [-1, 4])
def test_a_partition_that_is_none_is_refused(bus: Bus, wide: str, partition: int) -> None:
    with pytest.raises(InvalidRequestError, match="partition"):
        bus.append(wide, b"key", b"value", partition=partition)


def test_append_many_keeps_the_order_of_each_key(bus: Bus, wide: str) -> None:
    records = [(b"key-%d" % (number % 7), b"%d" % number) for number in range(5000)]
    appended = bus.append_many(wide, records)
    found = {(partition, record.offset): record for partition, record in read_all(bus, wide)}
    assert [(found[a.partition, a.offset].key, found[a.partition, a.offset].value) for a in appended] == records
    last: dict[tuple[int, bytes], int] = {}
    for entry, (key, _) in zip(appended, records, strict=True):
        assert entry.offset > last.get((entry.partition, key), -1)
        last[entry.partition, key] = entry.offset


def test_append_many_of_nothing_appends_nothing(bus: Bus, name: str) -> None:
    assert bus.append_many(name, []) == []
    assert read_all(bus, name) == []


def test_a_value_of_a_mebibyte_goes_through(bus: Bus, name: str) -> None:
    value = bytes(range(256)) * (MIB // 256)
    bus.append(name, b"key", value)
    bus.append_many(name, [(b"key", value)] * 3)
    assert values(read_all(bus, name)) == [value] * 4


def test_several_threads_append_through_one_bus(bus: Bus, name: str) -> None:
    def append(thread: int) -> None:
        for number in range(50):
            bus.append(name, b"%d" % thread, b"%d" % number)

    threads = [threading.Thread(target=append, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert _by_key(bus, name) == {b"%d" % thread: [b"%d" % number for number in range(50)] for thread in range(4)}


def test_several_processes_append(harness: Harness, bus: Bus, name: str, start_actor: Callable[..., Actor]) -> None:
    actors = [start_actor(harness, "append", name, f"p{number}", "50") for number in range(3)]
    _go(actors)
    assert [actor.wait(WAIT_S) for actor in actors] == [0, 0, 0]
    expected = {b"p%d" % process: [b"p%d:%d" % (process, number) for number in range(50)] for process in range(3)}
    assert _by_key(bus, name) == expected


# Reading


def test_a_reader_starts_where_it_is_told(bus: Bus, wide: str) -> None:
    for partition in range(4):
        for number in range(4):
            bus.append(wide, b"key", b"%d" % number, partition=partition)
    second = [record.offset for partition, record in read_all(bus, wide) if partition == 1][2]
    found = defaultdict(list)
    for partition, record in read_all(bus, wide, {1: second, 3: bus.end_offsets(wide)[3]}):
        found[partition].append(record.value)
    everything = [b"0", b"1", b"2", b"3"]
    assert found == {0: everything, 1: [b"2", b"3"], 2: everything}


def test_every_reader_gets_every_record(harness: Harness, bus: Bus, name: str) -> None:
    bus.append_many(name, [(b"key", b"%d" % number) for number in range(10)])
    assert read_all(bus, name) == read_all(bus, name) == read_all(harness.connect(), name)


def test_position_is_the_next_record_and_seek_changes_it(bus: Bus, name: str) -> None:
    appended = bus.append_many(name, [(b"key", b"%d" % number) for number in range(6)])
    reader = bus.reader(name)
    try:
        assert reader.position(0) <= appended[0].offset
        first: list[bytes | None] = []
        until(lambda: len(first) == 2, lambda: first.extend(values(flat(reader.poll(0.2, max_records=1)))))
        assert first == [b"0", b"1"]
        assert appended[1].offset < reader.position(0) <= appended[2].offset
        reader.seek(0, appended[4].offset)
        assert reader.position(0) == appended[4].offset
        found: list[bytes | None] = []
        until(lambda: len(found) == 2, lambda: found.extend(values(flat(reader.poll(0.2)))))
        assert found == [b"4", b"5"]
        reader.seek(0, appended[0].offset)
        until(lambda: len(found) == 8, lambda: found.extend(values(flat(reader.poll(0.2)))))
        assert found[2:] == [b"0", b"1", b"2", b"3", b"4", b"5"]
    finally:
        reader.close()


def _by_partition(reader: Reader, count: int) -> dict[int, list[bytes | None]]:
    """Read so many records, and then for a moment more."""
    found: list[tuple[int, Record]] = []
    until(lambda: len(found) >= count, lambda: found.extend(flat(reader.poll(0.1))))
    found.extend(flat(reader.poll(0.1)))
    values_of = defaultdict(list)
    for partition, record in found:
        values_of[partition].append(record.value)
    return values_of


def test_a_reader_of_parts_reads_no_others(bus: Bus, wide: str) -> None:
    appended = fill(bus, wide)
    reader = bus.reader(wide, {1: appended[1][2], 2: 0}, whole=False)
    try:
        assert _by_partition(reader, 6) == {1: [b"2", b"3"], 2: [b"0", b"1", b"2", b"3"]}
    finally:
        reader.close()


def test_assigning_replaces_what_was_assigned(bus: Bus, wide: str) -> None:
    appended = fill(bus, wide)
    reader = bus.reader(wide, {}, whole=False)
    try:
        assert reader.poll(0.1) == []
        reader.assign({1: appended[1][3]})
        assert _by_partition(reader, 1) == {1: [b"3"]}
        reader.assign({1: appended[1][1], 2: appended[2][2], 3: bus.end_offsets(wide)[3]})
        assert reader.position(2) == appended[2][2]
        assert _by_partition(reader, 5) == {1: [b"1", b"2", b"3"], 2: [b"2", b"3"]}
        reader.assign({3: reader.position(3)})
        bus.append(wide, b"key", b"not asked for", partition=1)
        bus.append(wide, b"key", b"fresh", partition=3)
        assert _by_partition(reader, 1) == {3: [b"fresh"]}
        reader.assign({})
        bus.append(wide, b"key", b"not asked for", partition=3)
        assert reader.poll(0.1) == []
        reader.assign(dict.fromkeys(range(4), 0))
        assert {p: len(found) for p, found in _by_partition(reader, 19).items()} == {0: 4, 1: 5, 2: 4, 3: 6}
    finally:
        reader.close()


def test_what_is_not_assigned_or_not_there_is_said(bus: Bus, wide: str) -> None:
    reader = bus.reader(wide, {1: 0}, whole=False)
    try:
        for wrong in (lambda: reader.position(2), lambda: reader.seek(2, 0)):
            with pytest.raises(InvalidRequestError, match=r"partition: expected one of .* that is assigned, got 2"):
                wrong()
        for partition in (-1, 4):
            with pytest.raises(InvalidRequestError, match=f"partition: expected 0 to 3, got {partition}"):
                reader.assign({1: 0, partition: 0})
            with pytest.raises(InvalidRequestError, match="partition"):
                bus.reader(wide, {partition: 0}, whole=False)
        assert reader.position(1) == 0, "a refused assignment changes nothing"
    finally:
        reader.close()


def test_a_poll_returns_no_more_than_asked_for(bus: Bus, wide: str) -> None:
    bus.append_many(wide, [(b"%d" % number, b"") for number in range(100)])
    reader = bus.reader(wide)
    sizes: list[int] = []
    try:
        until(lambda: sum(sizes) == 100, lambda: sizes.append(len(flat(reader.poll(0.2, max_records=7)))))
    finally:
        reader.close()
    assert max(sizes) <= 7


def test_a_batch_is_of_one_partition_in_order_and_not_empty(bus: Bus, wide: str) -> None:
    bus.append_many(wide, [(b"%d" % number, b"") for number in range(100)])
    reader = bus.reader(wide)
    count = 0
    try:
        while count < 100:
            for batch in reader.poll(WAIT_S):
                offsets = [record.offset for record in batch.records]
                assert batch.topic == wide
                assert offsets == sorted(set(offsets)) != []
                count += len(offsets)
    finally:
        reader.close()


def test_a_poll_with_nothing_to_read_ends_in_time(bus: Bus, name: str) -> None:
    reader = bus.reader(name)
    try:
        began = time.monotonic()
        assert reader.poll(0.3) == []
        assert 0.25 <= time.monotonic() - began < 2.0
        began = time.monotonic()
        assert reader.poll(0.0) == []
        assert time.monotonic() - began < 1.0
    finally:
        reader.close()


def test_a_waiting_poll_returns_when_a_record_comes(harness: Harness, bus: Bus, name: str) -> None:
    reader = bus.reader(name)
    other = harness.connect()
    try:
        assert reader.poll(0.05) == []
        appender = threading.Timer(0.2, lambda: other.append(name, b"key", b"fresh"))
        appender.start()
        began = time.monotonic()
        assert values(flat(reader.poll(WAIT_S))) == [b"fresh"]
        assert time.monotonic() - began < 5.0
        appender.join()
    finally:
        reader.close()


def test_end_offsets_are_beyond_what_was_appended(bus: Bus, wide: str) -> None:
    assert set(bus.end_offsets(wide)) == {0, 1, 2, 3}
    before = bus.end_offsets(wide)
    appended = bus.append(wide, b"key", b"value", partition=2)
    after = bus.end_offsets(wide)
    assert before[2] <= appended.offset < after[2]
    assert {partition: after[partition] for partition in (0, 1, 3)} == {p: before[p] for p in (0, 1, 3)}


def test_a_bus_that_tells_the_time_tells_that_of_its_records(bus: Bus, name: str) -> None:
    before = bus.append(name, None, b"a").timestamp_ms
    now_ms = bus.now_ms()
    after = bus.append(name, None, b"b").timestamp_ms
    assert now_ms is None or before <= now_ms <= after


def test_a_start_that_is_not_kept_any_more_means_the_first_record_kept(harness: Harness, bus: Bus) -> None:
    spec = topic(Kept.BY_TIME, retention_s=0)
    bus.ensure_topics([spec])
    old = bus.append_many(spec.name, [(b"key", b"old")] * 5)
    harness.trim(spec.name, 0, old[-1].offset + 1)

    def trimmed() -> bool:
        bus.append(spec.name, b"key", b"new")
        return b"old" not in values(read_all(bus, spec.name))

    until(trimmed)
    for start in (old[0].offset, old[2].offset):

        def read_from_there(start: int = start) -> tuple[list[tuple[int, Record]], int] | None:
            last = bus.append(spec.name, b"key", b"last")
            found = read_all(bus, spec.name, {0: start})
            return (found, last.offset) if found else None  # a broker may let go of it before it is read

        found, last = until(read_from_there)
        assert b"old" not in values(found)
        assert found[-1][1].offset == last


def test_a_compacted_topic_keeps_the_newest_record_of_each_key(harness: Harness, bus: Bus) -> None:
    spec = topic(Kept.COMPACTED)
    bus.ensure_topics([spec])
    harness.hasten_compaction(spec.name)
    first = bus.append_many(spec.name, [(b"%d" % (number % 3), b"%d" % number) for number in range(9)])

    def compacted() -> bool:
        bus.append(spec.name, b"filler", b"")
        return first[0].offset not in {record.offset for _, record in read_all(bus, spec.name)}

    until(compacted)
    newest = {record.key: record.value for _, record in read_all(bus, spec.name, {0: first[0].offset})}
    assert newest == {b"0": b"6", b"1": b"7", b"2": b"8", b"filler": b""}


# Topics


def test_creating_a_topic_again_leaves_it_as_it_is(harness: Harness, bus: Bus) -> None:
    spec = topic(partitions=3)
    bus.ensure_topics([spec])
    identity = bus.identity(spec.name)
    bus.append(spec.name, b"key", b"value")
    other = harness.connect()
    other.ensure_topics([spec, topic()])
    other.ensure_topics([type(spec)(spec.name, 5, Kept.COMPACTED)])
    assert (other.partitions(spec.name), other.identity(spec.name)) == (3, identity)
    assert values(read_all(other, spec.name)) == [b"value"]


def test_a_topic_that_is_like_another_gets_as_many_partitions(harness: Harness, bus: Bus) -> None:
    events = topic(partitions=3)
    bus.ensure_topics([events])
    there, together = topic(partitions=8), topic(partitions=2)
    alone = replace(topic(partitions=5), like=topic().name)
    like_there = replace(there, like=events.name)
    like_together = replace(topic(partitions=8), like=together.name)
    bus.ensure_topics([like_there, like_together, together, alone])
    other = harness.connect()
    other.ensure_topics([like_there, like_together, together, alone])
    specs = (like_there, like_together, alone)
    assert [other.partitions(spec.name) for spec in specs] == [3, 2, 5]


def test_a_topic_that_is_like_another_but_is_not_is_said(bus: Bus) -> None:
    events, commands = topic(partitions=3), topic(partitions=2)
    bus.ensure_topics([events, commands])
    expected = f"partitions of topic '{commands.name}': expected 3, as '{events.name}' has .*, got 2"
    with pytest.raises(InvalidRequestError, match=expected):
        bus.ensure_topics([events, replace(commands, like=events.name)])


def test_several_processes_create_one_topic_at_once(
    harness: Harness, bus: Bus, start_actor: Callable[..., Actor]
) -> None:
    name = topic().name
    actors = [start_actor(harness, "ensure", name, "3") for _ in range(4)]
    _go(actors)
    told = {line(actor).strip() for actor in actors}
    assert told == {bus.identity(name)}
    assert [actor.wait(WAIT_S) for actor in actors] == [0] * 4
    assert bus.partitions(name) == 3


@pytest.mark.parametrize(
    "call",
    [
        lambda bus, name: bus.partitions(name),
        lambda bus, name: bus.identity(name),
        lambda bus, name: bus.end_offsets(name),
        lambda bus, name: bus.append(name, b"key", b"value"),
        lambda bus, name: bus.append_many(name, [(b"key", b"value")]),
        lambda bus, name: bus.reader(name),
        lambda bus, name: bus.member("group", name, lambda _: None, lambda _: None),
    ],
    ids=["partitions", "identity", "end_offsets", "append", "append_many", "reader", "member"],
)
def test_a_topic_that_was_not_created_is_not_found(bus: Bus, call: Callable[[Bus, str], object]) -> None:
    name = topic().name
    with pytest.raises(NotFoundError, match=name):
        call(bus, name)


def test_the_identity_is_another_one_after_a_topic_was_created_again(harness: Harness, bus: Bus) -> None:
    spec = topic()
    bus.ensure_topics([spec])
    bus.append(spec.name, b"key", b"value")
    before = bus.identity(spec.name)
    assert harness.connect().identity(spec.name) == before
    harness.delete(spec.name)
    other = harness.connect()
    other.ensure_topics([spec])
    assert other.identity(spec.name) != before
    assert read_all(other, spec.name) == []


def _by_key(bus: Bus, name: str) -> dict[bytes | None, list[bytes | None]]:
    found = defaultdict(list)
    for _, record in read_all(bus, name):
        found[record.key].append(record.value)
    return dict(found)


def _go(actors: list[Actor]) -> None:
    """Let all begin at once."""
    assert {line(actor).strip() for actor in actors} == {"ready"}
    for actor in actors:
        assert actor.stdin is not None
        actor.stdin.write("go\n")
        actor.stdin.flush()
