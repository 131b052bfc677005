"""From the records of a batch to events by entity, and dead letters with their reasons. Pure."""

from collections import defaultdict
from dataclasses import dataclass, field

from protos.dead_letter import DeadLetter
from protos.partition import partition_of
from serving.bus.port import Batch
from serving.errors import InvalidRequestError
from serving.recipes.event import Event, decode_event


@dataclass(slots=True)
class Intake:
    """What a batch holds."""

    events: dict[bytes, list[Event]] = field(default_factory=lambda: defaultdict(list))
    dead: list[DeadLetter] = field(default_factory=list)
    count: int = 0
    clamped: int = 0
    oldest_append_ms: int = 0


def take_in(batch: Batch, partitions: int) -> Intake:
    """Decode every record once; what cannot be used becomes a dead letter and disturbs nothing else."""
    intake = Intake(oldest_append_ms=batch.records[0].timestamp_ms)
    for record in batch.records:
        try:
            event = decode_event(record.key, record.value, record.timestamp_ms)
            right = partition_of(event.entity, partitions)
            if right != batch.partition:
                raise InvalidRequestError(
                    "partition",
                    f"{right} (murmur2 of the key; librdkafka: partitioner=murmur2_random)",
                    batch.partition,
                )
        except InvalidRequestError as error:
            intake.dead.append(
                DeadLetter.of(batch.topic, batch.partition, record.offset, str(error), record.key, record.value)
            )
            continue
        intake.events[event.entity].append(event)
        intake.count += 1
        intake.clamped += event.clamped
    return intake
