"""From the records of a batch to events by entity, and dead letters with their reasons. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from protos.dead_letter import DeadLetter
from protos.partition import partition_of
from serving.bus.port import Batch, Record
from serving.errors import InvalidRequestError
from serving.recipes.event import Event, decode_event
from serving.recipes.mapping import EventMapping


@dataclass(slots=True)
class Happened:
    """What an entity did, in order of delivery, and when each was appended (ms, not falling)."""

    events: list[Event] = field(default_factory=list)
    appended: list[int] = field(default_factory=list)

    @property
    def append_ms(self) -> int:
        """When the last one was appended."""
        return self.appended[-1]

    def since(self, append_ms: int) -> "Happened":
        """Only what was appended later than that."""
        kept = [(event, at) for event, at in zip(self.events, self.appended, strict=True) if at > append_ms]
        return Happened([event for event, _ in kept], [at for _, at in kept])


@dataclass(slots=True)
class Intake:
    """What a batch holds. `oldest_append_ms`, `oldest_event_ms`: the earliest times in it."""

    happened: dict[bytes, Happened] = field(default_factory=dict)
    dead: list[DeadLetter] = field(default_factory=list)
    count: int = 0
    clamped: int = 0
    oldest_append_ms: int = 0
    oldest_event_ms: int = 0


def take_in(batch: Batch, partitions: int, mapping: EventMapping | None = None) -> Intake:
    """Decode every record once; what cannot be used becomes a dead letter and disturbs nothing else."""
    intake = Intake(oldest_append_ms=batch.records[0].timestamp_ms)
    happened = intake.happened
    right: dict[bytes, int] = {}
    oldest = intake.oldest_append_ms
    for record in batch.records:
        try:
            event = decode_event(record.key, record.value, record.timestamp_ms, mapping)
            entity = event.entity
            what = happened.get(entity)
            if what is None:
                if right.setdefault(entity, partition_of(entity, partitions)) != batch.partition:
                    raise InvalidRequestError(
                        "partition",
                        f"{right[entity]} (murmur2 of the key; librdkafka: partitioner=murmur2_random)",
                        batch.partition,
                    )
                what = happened[entity] = Happened()
        except InvalidRequestError as error:
            intake.dead.append(dead_letter(batch, record, str(error)))
            continue
        what.events.append(event)
        what.appended.append(record.timestamp_ms)
        oldest = min(oldest, event.ts_ms)
        intake.count += 1
        intake.clamped += event.clamped
    intake.oldest_event_ms = oldest
    return intake


def late_letters(batch: Batch, late: Sequence[Event], mapping: EventMapping | None = None) -> list[DeadLetter]:
    """Find the records of events that came too late. Decodes once more, which such events are rare enough for."""
    wanted = {(event.entity, event.id, event.ts_ms) for event in late}
    found = []
    for record in batch.records:
        try:
            event = decode_event(record.key, record.value, record.timestamp_ms, mapping)
        except InvalidRequestError:
            continue
        if (event.entity, event.id, event.ts_ms) in wanted:
            found.append(
                dead_letter(batch, record, "ts: expected an event within the allowed lateness, got a later one")
            )
    return found


def dead_letter(batch: Batch, record: Record, reason: str) -> DeadLetter:
    """Keep as much of a record as may be kept, with the reason."""
    return DeadLetter.of(batch.topic, batch.partition, record.offset, reason, record.key, record.value)
