"""Reads `dead-letters`, and appends records of it once more. Prints nothing.

A topic may hold many letters of up to 64 KiB: only what a list shows is kept of each.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from heapq import heappop, heappush

from protos.dead_letter import DeadLetter, InvalidDeadLetterError, Retried, decode_entry
from protos.topics import Topics
from serving.bus.port import Bus, Record
from serving.cli.erasures import Claim, erased_claims
from serving.recipes.event import entities_of
from serving.recipes.mapping import EventMapping

_POLL_S = 0.5
_AT_ONCE = 256

Place = tuple[int, int]
"""Partition and offset on `dead-letters`."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A letter, without the record's value but with its size; `obstacle`: why it cannot be appended once more.

    `entities`: of whom it speaks.
    """

    place: Place
    at_ms: int
    letter: DeadLetter
    size: int | None
    obstacle: str
    entities: frozenset[bytes]

    @property
    def claim(self) -> Claim:
        """What decides whether an erasure covers it."""
        letter = self.letter
        return Claim(letter.topic, letter.partition, letter.offset, self.at_ms, self.entities)


@dataclass(frozen=True, slots=True)
class Selection:
    """The letters that a command is about, the newest last; `unreadable`: records that are neither letter nor mark."""

    entries: list[Entry]
    unreadable: int

    @property
    def retriable(self) -> list[Entry]:
        """Those that can be appended once more."""
        return [entry for entry in self.entries if not entry.obstacle]


@dataclass(frozen=True, slots=True)
class Wanted:
    """The newest `limit` letters of a topic whose reason contains a text, whatever its case; None = all."""

    topic: str | None = None
    reason: str | None = None
    limit: int | None = None

    def has(self, letter: DeadLetter) -> bool:
        """Tell whether it is one of them, but for the limit."""
        return self.topic in {None, letter.topic} and (self.reason or "").lower() in letter.reason.lower()


def select_letters(bus: Bus, topics: Topics, wanted: Wanted, mapping: EventMapping | None = None) -> Selection:
    """Choose letters, and tell what stands against each. `mapping`: how events say whose they are."""
    newest: list[tuple[tuple[int, Place], Entry]] = []
    retried: set[Place] = set()
    unreadable = 0
    for place, record in _read(bus, topics.dead_letters.name):
        try:
            found = decode_entry(record.value)
        except InvalidDeadLetterError:
            unreadable += 1
            continue
        if isinstance(found, Retried):
            retried.add((found.partition, found.offset))
        elif wanted.has(found):
            heappush(newest, ((record.timestamp_ms, place), _entry(place, record, found, topics, mapping)))
            if wanted.limit is not None and len(newest) > wanted.limit:
                heappop(newest)
    entries = [entry for _, entry in sorted(newest, key=lambda item: item[0])]
    entries = [replace(e, obstacle="retried") if e.place in retried else e for e in entries]
    erased = erased_claims(bus, topics, [e.claim for e in entries if not e.obstacle and e.entities])
    return Selection([replace(e, obstacle="erased") if e.claim in erased else e for e in entries], unreadable)


def retry_letters(bus: Bus, topics: Topics, places: Collection[Place]) -> int:
    """Append the records of these letters to the topics that they came from, and mark the letters; return how many.

    The mark comes after the record: a crash in between appends a record twice, and loses none. Near-line workers
    know an event that came twice by its id.
    """
    wanted, count = set(places), 0
    waiting: list[tuple[Place, Record, DeadLetter]] = []
    for place, record in _read(bus, topics.dead_letters.name):
        if place in wanted:
            waiting.append((place, record, DeadLetter.decode(record.value or b"")))
        if len(waiting) >= _AT_ONCE:
            count += _append(bus, topics, waiting)
            waiting = []
    return count + _append(bus, topics, waiting)


def _append(bus: Bus, topics: Topics, waiting: list[tuple[Place, Record, DeadLetter]]) -> int:
    by_topic = defaultdict(list)
    for _, _, letter in waiting:
        by_topic[letter.topic].append((letter.key, letter.value))
    for topic in by_topic:
        bus.partitions(topic)  # that one is gone is said before anything is appended
    for topic, records in by_topic.items():
        bus.append_many(topic, records)
    bus.append_many(topics.dead_letters.name, [(record.key, Retried(*place).encode()) for place, record, _ in waiting])
    return len(waiting)


def _entry(place: Place, record: Record, letter: DeadLetter, topics: Topics, mapping: EventMapping | None) -> Entry:
    obstacle = ""
    if letter.topic in {topics.models.name, topics.status.name, topics.dead_letters.name}:
        # Whoever may write dead letters must not, by way of an operator, say what is to be served.
        obstacle = "control topic"
    elif letter.truncated:
        obstacle = "truncated"
    elif letter.key is None and letter.value is None:
        obstacle = "empty"
    size = None if letter.value is None else len(letter.value)
    entities = entities_of(letter.key, letter.value, mapping if letter.topic == topics.events.name else None)
    return Entry(place, record.timestamp_ms, replace(letter, value=None), size, obstacle, entities)


def _read(bus: Bus, name: str) -> Iterator[tuple[Place, Record]]:
    """Everything up to the ends of just now."""
    ends = bus.end_offsets(name)
    reader = bus.reader(name)
    try:
        while any(reader.position(partition) < end for partition, end in ends.items()):
            for batch in reader.poll(_POLL_S, _AT_ONCE):
                for record in batch.records:
                    if record.offset < ends[batch.partition]:
                        yield (batch.partition, record.offset), record
    finally:
        reader.close()
