"""`nearline dead-letters`: the list, and another try; on the embedded bus, and on Kafka."""

import io
import time
import uuid
from collections.abc import Iterator

import pytest

from protos.commands import Erase, Recompute
from protos.dead_letter import KEPT_BYTES, DeadLetter
from protos.topics import Topics
from serving.bus.connect import connect_bus
from serving.bus.port import Bus
from serving.cli.errors import USAGE
from tests.cli.program import Program
from tests.end_to_end.waiting import wait_until


class Place:
    """A bus with its topics, and what they hold."""

    def __init__(self, bus: Bus, topics: Topics) -> None:
        self.bus = bus
        self.topics = topics
        bus.ensure_topics(topics.all())

    def die(
        self,
        offset: int,
        key: bytes | None,
        value: bytes | None,
        reason: str = "no good",
        topic: str | None = None,
        partition: int = 1,
    ) -> None:
        letter = DeadLetter.of(topic or self.topics.events.name, partition, offset, reason, key, value)
        self.bus.append(self.topics.dead_letters.name, letter.key, letter.encode())

    def read(self, topic: str) -> list[tuple[bytes | None, bytes | None]]:
        ends, reader = self.bus.end_offsets(topic), self.bus.reader(topic)
        found = []
        try:
            while any(reader.position(partition) < end for partition, end in ends.items()):
                found += [(r.key, r.value) for batch in reader.poll(1.0) for r in batch.records]
        finally:
            reader.close()
        return found

    def events(self) -> list[tuple[bytes | None, bytes | None]]:
        return self.read(self.topics.events.name)


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def place(request: pytest.FixtureRequest, program: Program, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    url, prefix = "embedded", "nearline."
    if request.param == "kafka":
        url, prefix = f"kafka://{request.getfixturevalue('kafka_servers')}", f"t{uuid.uuid4().hex}."
        monkeypatch.setenv("NEARLINE_BUS", url)
        monkeypatch.setenv("NEARLINE_TOPIC_PREFIX", prefix)
    bus = connect_bus(program.settings.model_copy(update={"bus": url}))
    yield Place(bus, Topics(prefix))
    bus.close()


@pytest.fixture
def here(program: Program) -> Iterator[Place]:
    """Only the embedded bus, for what does not depend on it."""
    bus = connect_bus(program.settings)
    yield Place(bus, program.settings.topics)
    bus.close()


def test_letters_are_listed_and_tried_once_more_just_once(program: Program, place: Place) -> None:
    place.die(3, b"ann", b"one")
    place.die(5, b"\xff", None, reason="other")
    place.die(7, None, b"three")
    place.die(9, b"bob", b"v" * (KEPT_BYTES + 1))
    said = program.ask("dead-letters")
    assert [(e["key"], e["offset"], e["size"], e["reason"], e["obstacle"]) for e in said["letters"]] == [
        ("ann", 3, 3, "no good", ""),
        ("\\xff", 5, None, "other", ""),
        (None, 7, 5, "no good", ""),
        ("bob", 9, KEPT_BYTES, "no good", "truncated"),
    ]
    times = [e["at_ms"] for e in said["letters"]]
    assert times == sorted(times)
    assert {(e["topic"], e["partition"]) for e in said["letters"]} == {(place.topics.events.name, 1)}

    assert program.ask("dead-letters", "--retry", "--yes", "--reason", "OTHER")["appended"] == 1
    assert place.events() == [(b"\xff", None)]
    assert program.ask("dead-letters", "--retry", "--yes")["appended"] == 2
    everything = {(b"\xff", None), (b"ann", b"one"), (None, b"three")}
    assert (len(place.events()), set(place.events())) == (3, everything), "each once, as it was"
    assert program.ask("dead-letters", "--retry", "--yes")["appended"] == 0
    assert [e["obstacle"] for e in program.ask("dead-letters")["letters"]] == ["retried"] * 3 + ["truncated"]


def test_a_record_that_dies_again_is_a_new_letter_and_may_be_tried_again(program: Program, here: Place) -> None:
    for offset in (1, 2):
        here.die(offset, b"ann", b"one")
        assert program.ask("dead-letters", "--retry", "--yes")["appended"] == 1
    assert here.events() == [(b"ann", b"one")] * 2


def test_many_letters_go_through(program: Program, here: Place) -> None:
    letters = [DeadLetter.of(here.topics.events.name, 0, n, "no good", b"%d" % n, b"%d" % n) for n in range(600)]
    here.bus.append_many(here.topics.dead_letters.name, [(letter.key, letter.encode()) for letter in letters])
    assert program("dead-letters", "--retry", "--yes", "--limit", "500").out == "appended 500 records once more\n"
    assert sorted(int(key or b"") for key, _ in here.events()) == list(range(100, 600)), "the newest"
    assert program.ask("dead-letters", "--retry", "--yes")["appended"] == 100


def test_filters_choose(program: Program, here: Place) -> None:
    for offset in range(3):
        here.die(offset, b"ann", b"one", reason="partition: expected 2, got 1")
        here.die(offset, b"ann", b"one", reason="kind: unknown", topic=here.topics.commands.name)

    def chosen(*arguments: str) -> list[tuple[str, int]]:
        return [(e["topic"].split(".")[1], e["offset"]) for e in program.ask("dead-letters", *arguments)["letters"]]

    assert chosen("--topic", here.topics.commands.name) == [("commands", 0), ("commands", 1), ("commands", 2)]
    assert chosen("--reason", "EXPECTED 2") == [("events", 0), ("events", 1), ("events", 2)]
    assert chosen("--limit", "3") == [("commands", 1), ("events", 2), ("commands", 2)]
    assert chosen("--topic", here.topics.events.name, "--reason", "kind") == []
    assert program("dead-letters", "--topic", "none").out == "no dead letter\n"
    assert program("dead-letters", "--limit", "0").code == USAGE


def test_the_table_shows_what_came_from_outside_as_it_is(program: Program, here: Place) -> None:
    here.die(7, b"\x1b[31m[bold]ann", b"12345", reason="item: expected [a], got \x07")
    table = program("dead-letters").out
    for part in ("\\x1b[31m[bold]ann", "item: expected [a], got \\x07", here.topics.events.name, " 7 ", " 5 "):
        assert part in table
    assert "\x1b" not in table


def test_the_table_fits_a_narrow_terminal(program: Program, here: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    reason = "fields.item: expected a string, a number, a boolean or nothing, got ['a', 'list']"
    for offset in range(100, 130):
        here.die(offset, b"a-customer-with-a-long-name-%d" % offset, b"v" * (KEPT_BYTES + 1), reason=reason)
    here.die(7, b"k" * 1500, None, reason="partition: expected 2, got 1")
    monkeypatch.setenv("COLUMNS", "80")
    table, *texts = program("dead-letters").out.split("\n" + here.topics.events.name + " on ")
    assert all(len(line) <= 80 for line in table.splitlines())
    assert all(str(offset) in table for offset in range(100, 130))
    assert table.count("truncated") == 31
    assert (len(texts), texts[0].count(reason), texts[0].count("1@")) == (2, 1, 20)
    assert "and 10 more" in texts[0]


@pytest.mark.parametrize(("answer", "appended"), [("y\n", 1), ("n\n", 0), ("\n", 0)])
def test_it_asks_first(
    program: Program, here: Place, monkeypatch: pytest.MonkeyPatch, answer: str, appended: int
) -> None:
    here.die(7, b"ann", b"one")
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    ended = program("dead-letters", "--retry")
    assert "append 1 record once more?" in ended.out
    assert ended.out.endswith(f"appended {appended} record{'' if appended == 1 else 's'} once more\n")
    assert len(here.events()) == appended


def test_with_json_nobody_can_be_asked(program: Program, here: Place) -> None:
    here.die(7, b"ann", b"one")
    ended = program("dead-letters", "--retry", "--json")
    assert (ended.code, ended.json) == (
        USAGE,
        {"error": "--json: expected --yes beside it, as nobody can be asked, got no --yes"},
    )
    assert here.events() == []


def test_what_cannot_be_tried_is_left_out_with_the_reason(program: Program, here: Place) -> None:
    here.die(1, b"ann", b"v" * (KEPT_BYTES + 1))
    here.die(2, None, None)
    for topic in (here.topics.models, here.topics.status, here.topics.dead_letters):
        here.die(3, b"m", b"an announcement that nobody made", topic=topic.name)
    here.bus.append(here.topics.dead_letters.name, b"ann", b"\xc1")
    assert program("dead-letters", "--retry", "--yes").out.splitlines() == [
        "left out: 3 records of a topic that is not for events or commands",
        "left out: 1 record without key and value",
        "left out: 1 record longer than a letter keeps",
        "left out: 1 record of the topic itself that cannot be read",
        "appended 0 records once more",
    ]
    assert here.read(here.topics.models.name) == []
    assert program.ask("dead-letters")["unreadable"] == 1


def test_a_topic_that_is_gone_is_said_and_nothing_is_appended(program: Program, here: Place) -> None:
    here.die(1, b"ann", b"one")
    here.die(2, b"ann", b"two", topic="gone")
    ended = program("dead-letters", "--retry", "--yes")
    assert ended.code == USAGE
    assert "topic 'gone'" in ended.error
    assert here.events() == []
    assert program.ask("dead-letters", "--retry", "--yes", "--topic", here.topics.events.name)["appended"] == 1


def test_a_record_of_the_wrong_partition_goes_to_the_right_one(program: Program, here: Place) -> None:
    here.die(1, b"ann", b"one", reason="partition: expected 2, got 1")
    program.ask("dead-letters", "--retry", "--yes")
    assert program.ask("event", "ann", "item=a")["offset"] == 1, "the second on ann's partition"


def test_what_is_of_an_erased_entity_does_not_come_back(program: Program, place: Place) -> None:
    gone = place.bus.append(place.topics.events.name, b"ann", b"late")
    place.die(gone.offset, b"ann", b"late", reason="ts: later", partition=gone.partition)
    place.die(5, b"bob", b"two")
    place.bus.append(place.topics.commands.name, *Recompute(b"bob", "shop", 1).encode())
    place.bus.append(place.topics.commands.name, *Erase(b"ann").encode())
    before = place.events()
    assert [(e["key"], e["obstacle"]) for e in program.ask("dead-letters")["letters"]] == [
        ("ann", "erased"),
        ("bob", ""),
    ]
    assert program("dead-letters", "--retry", "--yes").out.splitlines() == [
        "left out: 1 record of an entity that was erased after it, and would come back",
        "appended 1 record once more",
    ]
    assert sorted(place.events()) == sorted([*before, (b"bob", b"two")])


def test_a_letter_that_came_after_the_erasure_is_judged_by_its_record(program: Program, place: Place) -> None:
    events, commands = place.topics.events.name, place.topics.commands.name
    before = place.bus.append(events, b"ann", b"before")
    erased = place.bus.append(commands, *Erase(b"ann").encode())
    wait_until(lambda: time.time_ns() // 1_000_000 > erased.timestamp_ms + 1, "a later millisecond")
    after = place.bus.append(events, b"ann", b"after")
    for appended, value in ((before, b"before"), (after, b"after")):
        place.die(appended.offset, b"ann", value, partition=appended.partition)
    place.die(10_000, b"ann", b"nobody knows when", partition=after.partition)
    said = [(e["offset"], e["obstacle"]) for e in program.ask("dead-letters")["letters"]]
    assert said == [(before.offset, "erased"), (after.offset, ""), (10_000, "erased")]
    assert program.ask("dead-letters", "--retry", "--yes")["appended"] == 1
    assert place.events()[-1] == (b"ann", b"after")


def test_whom_the_body_names_counts_where_the_key_is_not_the_entity(
    program: Program, here: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEARLINE_EVENT_MAPPING", '{"entity": "user.id", "keyed": false, "time_unit": "s"}')
    here.die(1, b"order-1", b'{"user": {"id": 7}, "ts": "no time"}')
    here.die(2, b"order-2", b'{"user": {"id": "8"}, "ts": "no time"}')
    here.die(3, b"order-3", b"nothing that can be read")
    here.bus.append(here.topics.commands.name, *Erase(b"7").encode())
    assert [e["obstacle"] for e in program.ask("dead-letters")["letters"]] == ["erased", "", ""]
