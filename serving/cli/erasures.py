"""Who was erased after a record was appended, so that no retry brings back what is to be forgotten. Prints nothing."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from protos.commands import Erase, InvalidCommandError, decode_command
from protos.partition import partition_of
from protos.topics import Topics
from serving.bus.port import Bus, Record
from serving.errors import NotFoundError

_POLL_S = 0.5


class Claim(NamedTuple):
    """A record that could not be used: where it stood, when its letter was appended, and of whom it speaks."""

    topic: str
    partition: int
    offset: int
    letter_ms: int
    entities: frozenset[bytes]


def erased_claims(bus: Bus, topics: Topics, claims: Collection[Claim]) -> set[Claim]:
    """Return those of an entity that was erased at or after the record was appended.

    A letter follows its record, at times much later. Where an erasure is older than the letter, the record itself
    tells which was first; one that is gone counts as older, since what is to be forgotten must not come back.
    """
    entities = {entity for claim in claims for entity in claim.entities}
    erased_ms = _newest_erasures(bus, topics, entities) if entities else {}
    found: set[Claim] = set()
    unsure: dict[Claim, int] = {}
    for claim in claims:
        newest = max((erased_ms.get(entity, 0) for entity in claim.entities), default=0)
        if newest >= claim.letter_ms:
            found.add(claim)
        elif newest:
            unsure[claim] = newest
    appended = _append_times(bus, unsure)
    return found | {claim for claim, newest in unsure.items() if appended.get(claim, 0) <= newest}


def _newest_erasures(bus: Bus, topics: Topics, entities: Collection[bytes]) -> Mapping[bytes, int]:
    """When each was erased last (ms). Reads their partitions of `commands`, once."""
    name = topics.commands.name
    count = bus.partitions(name)
    ends = bus.end_offsets(name)
    erased: dict[bytes, int] = {}
    reader = bus.reader(name, {partition_of(entity, count): 0 for entity in entities}, whole=False)
    try:
        left = {partition_of(entity, count) for entity in entities}
        while left := {partition for partition in left if reader.position(partition) < ends[partition]}:
            for batch in reader.poll(_POLL_S):
                for record in batch.records:
                    if record.key in entities and _is_erasure(record):
                        erased[record.key or b""] = max(erased.get(record.key or b"", 0), record.timestamp_ms)
    finally:
        reader.close()
    return erased


def _is_erasure(record: Record) -> bool:
    try:
        return isinstance(decode_command(record.key, record.value), Erase)
    except InvalidCommandError:
        return False


def _append_times(bus: Bus, claims: Iterable[Claim]) -> Mapping[Claim, int]:
    """When the records themselves were appended (ms); one that is gone is left out."""
    by_topic: defaultdict[str, list[Claim]] = defaultdict(list)
    for claim in claims:
        by_topic[claim.topic].append(claim)
    found: dict[Claim, int] = {}
    for topic, wanted in by_topic.items():
        try:
            ends = bus.end_offsets(topic)
        except NotFoundError:
            continue
        reader = bus.reader(topic, {}, whole=False)
        try:
            for claim in sorted(wanted):
                if 0 <= claim.offset < ends.get(claim.partition, 0):
                    reader.assign({claim.partition: claim.offset})
                    while reader.position(claim.partition) <= claim.offset:
                        for record in (record for batch in reader.poll(_POLL_S, 1) for record in batch.records):
                            if record.offset == claim.offset:
                                found[claim] = record.timestamp_ms
        finally:
            reader.close()
    return found
