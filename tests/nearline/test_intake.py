"""From records to events by entity, and dead letters with their reasons."""

from hypothesis import given
from hypothesis import strategies as st

from protos.partition import partition_of
from serving.bus.port import Batch, Record
from serving.nearline.intake import late_letters, take_in
from serving.recipes.event import Scalar, encode_event

PARTITIONS = 4
NOW = 1_000
HERE = [f"e{i}" for i in range(50) if partition_of(b"e%d" % i, PARTITIONS) == 1]
ELSEWHERE = next(f"e{i}" for i in range(50) if partition_of(b"e%d" % i, PARTITIONS) == 2)


def event(entity: str, ts: int = 1, **fields: Scalar) -> tuple[bytes, bytes]:
    return encode_event(entity, fields, ts_ms=ts)


def batch(*entries: tuple[bytes | None, bytes | None], start: int = 10) -> Batch:
    records = [Record(offset, NOW + offset, *entry) for offset, entry in enumerate(entries, start)]
    return Batch("t.events", 1, records)


def test_events_are_grouped_by_entity_in_their_order() -> None:
    one, other = HERE[:2]
    intake = take_in(batch(event(one, 1), event(other, 2), event(one, 3)), PARTITIONS)
    assert {e: [x.ts_ms for x in what.events] for e, what in intake.happened.items()} == {
        one.encode(): [1, 3],
        other.encode(): [2],
    }
    assert (intake.count, intake.dead, intake.oldest_append_ms) == (3, [], NOW + 10)
    assert intake.oldest_event_ms == 1


def test_what_was_appended_until_an_instant_can_be_left_out() -> None:
    what = take_in(batch(event(HERE[0], 1), event(HERE[0], 2), event(HERE[0], 3)), PARTITIONS).happened[
        HERE[0].encode()
    ]
    later = what.since(NOW + 10)
    assert [(e.ts_ms, at) for e, at in zip(later.events, later.appended, strict=True)] == [
        (2, NOW + 11),
        (3, NOW + 12),
    ]
    assert (what.append_ms, what.since(NOW + 12).events) == (NOW + 12, [])


def test_late_events_are_found_again_in_their_batch() -> None:
    records = batch(event(HERE[0], 1), (b"e1", b"\xc1"), event(HERE[0], 2), event(HERE[1], 1))
    late = take_in(records, PARTITIONS).happened[HERE[0].encode()].events[:1]
    (letter,) = late_letters(records, late)
    assert (letter.offset, letter.key, letter.reason[:4]) == (10, HERE[0].encode(), "ts: ")


def test_a_poison_event_becomes_a_dead_letter_with_its_place_and_its_bytes() -> None:
    intake = take_in(batch(event(HERE[0]), (b"e1", b"\xc1"), event(HERE[0], 2)), PARTITIONS)
    (dead,) = intake.dead
    assert (dead.topic, dead.partition, dead.offset, dead.key, dead.value) == ("t.events", 1, 11, b"e1", b"\xc1")
    assert dead.reason.startswith("event: expected JSON or msgpack")
    assert (intake.count, len(intake.happened[HERE[0].encode()].events)) == (2, 2)


def test_an_event_on_the_wrong_partition_says_which_is_right_and_how_to_get_there() -> None:
    (dead,) = take_in(batch(event(ELSEWHERE)), PARTITIONS).dead
    assert dead.reason == ("partition: expected 2 (murmur2 of the key; librdkafka: partitioner=murmur2_random), got 1")


def test_a_dead_letter_of_an_oversized_record_is_not_oversized() -> None:
    (dead,) = take_in(batch((b"k" * (1 << 20), b"v" * (1 << 20))), PARTITIONS).dead
    assert len(dead.encode()) < 100_000


def test_events_from_the_future_are_counted() -> None:
    assert take_in(batch(event(HERE[0], NOW + 10_000), event(HERE[0], 1)), PARTITIONS).clamped == 1


@given(st.lists(st.tuples(st.none() | st.binary(max_size=4), st.none() | st.binary(max_size=32)), min_size=1))
def test_every_record_is_an_event_or_a_dead_letter(entries: list[tuple[bytes | None, bytes | None]]) -> None:
    intake = take_in(batch(*entries), PARTITIONS)
    assert intake.count + len(intake.dead) == len(entries)
    assert intake.count == sum(len(what.events) for what in intake.happened.values())
