"""Entities that are erased while their events arrive, among poison, with workers that are killed meanwhile."""

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from random import Random

from protos.dead_letter import DeadLetter
from protos.topics import Topics
from serving.bus.embedded.bus import EmbeddedBus
from serving.bus.embedded.reader import EmbeddedReader
from serving.bus.port import Bus, Record
from serving.errors import InvalidRequestError
from serving.models.places import ACTIVE, ERASED, PREDICTIONS, STATES
from serving.recipes.event import Event, decode_event
from serving.recipes.fold import fold
from serving.recipes.state import tracks_of
from serving.settings import Settings
from tests.end_to_end.installation import Installation, Node
from tests.end_to_end.nearline.conftest import SMALL
from tests.end_to_end.nearline.feeding import Feeding
from tests.end_to_end.nearline.outcome import Outcome, assert_equal, outcome, undisturbed, wait_settled, working
from tests.end_to_end.nearline.shop import RECIPE, publish_shop
from tests.end_to_end.nearline.streams import commands, entities, erasure, events
from tests.end_to_end.waiting import wait_until
from tests.supervisor.watching import children

BUSY, GONE = ["e0", "e1", "e2"], "gone"


def test_nothing_from_before_an_erasure_comes_back_and_the_others_lose_nothing(shop: Installation, rng: Random) -> None:
    publish_shop(shop)
    settings, among = shop.settings(), entities(60)
    topics = settings.topics
    bus = shop.bus()
    with Node(shop) as node:
        with Feeding(settings, events(rng, 200, [GONE]) + events(rng, 2000, among), commands(rng, 60, among)) as load:
            load.wait_for(rng.uniform(0.3, 0.5))
            erased = bus.append_many(topics.commands.name, [erasure(entity) for entity in [*BUSY, GONE]])
            if rng.random() < 0.5:
                load.wait_for(0.55)
            os.kill(children(node.pid)["nearline-0"], signal.SIGKILL)
        wait_settled(settings)
    at = dict(zip([*BUSY, GONE], erased, strict=True))
    logged = _records(bus, topics.events.name)
    happened = {entity: _after(logged, entity, at[entity].timestamp_ms) for entity in at}
    letters = _letters(bus, topics)
    bus.close()

    found, expected = outcome(settings), undisturbed(shop)
    assert_equal(_without(found, at), _without(expected, at))
    for entity in at:
        assert _of(expected, entity) == _states_of(happened[entity])[0], f"a replay keeps what came after: {entity}"
        assert _of(found, entity) in _states_of(happened[entity]), f"what came before is gone: {entity}"
    assert any(happened[entity] for entity in BUSY), "events went on after the erasure"
    assert {(place.space, place.shard) for place in found if place.key == GONE.encode()} == {
        (ERASED, at[GONE].partition),
        (b"ranking " + ERASED, at[GONE].partition),
    }
    dead = {(r.partition, r.offset) for r in letters if r.topic == topics.events.name}
    assert dead == {place for place, record in logged.items() if _event(record) is None}
    assert any(letter.topic == topics.commands.name for letter in letters)


def test_an_erasure_is_obeyed_before_the_events_from_after_it_however_late_it_is_read(
    tmp_path: Path, rng: Random
) -> None:
    shop = Installation(tmp_path, SMALL)
    publish_shop(shop)
    settings = shop.settings()
    topics = settings.topics
    bus = shop.bus()
    bus.append_many(topics.events.name, events(rng, 30, ["e0"]))
    erased = bus.append_many(topics.commands.name, [erasure("e0")])[0]
    wait_until(lambda: time.time_ns() // 1_000_000 > erased.timestamp_ms, "the next millisecond")
    bus.append_many(topics.events.name, events(rng, 30, ["e0"]))
    after = _after(_records(bus, topics.events.name), "e0", erased.timestamp_ms)
    bus.close()

    with working(settings, connect=lambda: _LateCommands(settings, polls=5)):
        wait_settled(settings)

    assert after
    assert _of(outcome(settings), "e0") == _states_of(after)[0]


class _LateCommands(EmbeddedBus):
    """A bus whose readers find nothing at first, as a client does that still connects."""

    def __init__(self, settings: Settings, polls: int) -> None:
        super().__init__(settings.data_dir / "bus")
        self._polls = polls

    def reader(self, topic: str, start: Mapping[int, int] | None = None, *, whole: bool = True) -> EmbeddedReader:
        reader = super().reader(topic, start, whole=whole)
        read, left = reader.poll, iter(range(self._polls))
        reader.poll = lambda *given: [] if next(left, None) is not None else read(*given)  # type: ignore[method-assign]
        return reader


def _states_of(happened: list[Event]) -> list[bytes | None]:
    """The states that these events give, all of them, or what is left without the first ones."""
    tracks = tracks_of([RECIPE])
    suffixes = [happened[first:] for first in range(len(happened))]
    return [*(fold(None, suffix, tracks, 3600_000).document for suffix in suffixes), None]


def _of(stores: Outcome, entity: str) -> bytes | None:
    """An entity's state; what else there is of it has to be there when that is, and only then."""
    there = {place.space[:1]: value for place, value in stores.items() if place.key == entity.encode()}
    assert (PREDICTIONS in there) == (STATES in there)
    active = any(p.space == b"ranking " + ACTIVE and p.key == entity.encode() for p in stores)
    assert active == (STATES in there)
    state: bytes | None = there.get(STATES)
    return state


def _without(stores: Outcome, left_out: Mapping[str, object]) -> Outcome:
    keys = {entity.encode() for entity in left_out}
    return {place: value for place, value in stores.items() if place.key not in keys}


def _records(bus: Bus, topic: str) -> dict[tuple[int, int], Record]:
    """Everything on a topic, by partition and offset."""
    reader, ends = bus.reader(topic), bus.end_offsets(topic)
    found: dict[tuple[int, int], Record] = {}

    def read() -> bool:
        for batch in reader.poll(0.05):
            found.update({(batch.partition, record.offset): record for record in batch.records})
        return all(reader.position(partition) >= end for partition, end in ends.items())

    wait_until(read, f"the end of {topic}")
    reader.close()
    return found


def _letters(bus: Bus, topics: Topics) -> list[DeadLetter]:
    return [DeadLetter.decode(record.value or b"") for record in _records(bus, topics.dead_letters.name).values()]


def _after(logged: Mapping[tuple[int, int], Record], entity: str, erased_ms: int) -> list[Event]:
    found = [(place, _event(record)) for place, record in logged.items() if record.timestamp_ms > erased_ms]
    return [event for _, event in sorted(found) if event is not None and event.entity == entity.encode()]


def _event(record: Record) -> Event | None:
    try:
        return decode_event(record.key, record.value, record.timestamp_ms)
    except InvalidRequestError:
        return None
