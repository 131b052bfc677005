"""Reads a topic by assignment."""

import time
from collections.abc import Mapping
from typing import Any

from kafka import TopicPartition

from serving.bus.kafka.clients import KafkaClients
from serving.bus.kafka.errors import unavailable
from serving.bus.partitions import check_assignment, not_assigned
from serving.bus.port import Batch, Record

_LOOK_S = 1.0
_ANSWER_MS = 3_000


class KafkaReader:
    """One consumer without a group. A start that is not kept any more means the first record kept."""

    def __init__(
        self, clients: KafkaClients, topic: str, partitions: int, start: Mapping[int, int], *, whole: bool
    ) -> None:
        check_assignment(start, partitions)
        self._clients = clients
        self._topic = topic
        self._partitions = partitions
        self._assigned = set(range(partitions)) if whole else set(start)
        self._consumer = clients.consumer(None)
        self._watch = Watch(clients, self._consumer, topic, partitions)
        self._apply(start)

    def poll(self, timeout_s: float, max_records: int = 4096) -> list[Batch]:
        """Return what there is, waiting up to `timeout_s` for the first."""
        with self._clients.converted(self._topic, "Read"):
            found = self._consumer.poll(timeout_ms=max(0.0, timeout_s * 1000), max_records=max_records)
        if not found:
            self._watch.look()
        return batches(found)

    def assign(self, positions: Mapping[int, int]) -> None:
        """Read these partitions from now on, and no others."""
        check_assignment(positions, self._partitions)
        self._assigned = set(positions)
        self._apply(positions)

    def position(self, partition: int) -> int:
        """Offset of the next record to be returned."""
        if partition not in self._assigned:
            raise not_assigned(self._topic, partition)
        return position_of(self._clients, self._consumer, TopicPartition(self._topic, partition))

    def seek(self, partition: int, offset: int) -> None:
        """Continue at `offset`, or at the first record kept after it."""
        if partition not in self._assigned:
            raise not_assigned(self._topic, partition)
        self._consumer.seek(TopicPartition(self._topic, partition), offset)

    def close(self) -> None:
        """Disconnect."""
        with self._clients.converted(self._topic, "Read"):
            self._consumer.close(autocommit=False, timeout_ms=_ANSWER_MS)

    def _apply(self, positions: Mapping[int, int]) -> None:
        with self._clients.converted(self._topic, "Read"):
            self._consumer.assign([TopicPartition(self._topic, partition) for partition in sorted(self._assigned)])
            for partition, offset in positions.items():
                self._consumer.seek(TopicPartition(self._topic, partition), offset)


def position_of(clients: KafkaClients, consumer: Any, place: TopicPartition) -> int:
    """Ask a consumer; at most a few seconds."""
    with clients.converted(place.topic, "Read"):
        position = consumer.position(place, timeout_ms=_ANSWER_MS)
    if position is None:
        raise unavailable(clients.servers, f"{place.topic}: no answer in time about partition {place.partition}")
    return int(position)


class Watch:
    """Tells "nothing new" from "broker away": a consumer returns nothing for both.

    It asks for the ends when nothing came, at most once a second.
    """

    def __init__(self, clients: KafkaClients, consumer: Any, topic: str, partitions: int) -> None:
        self._clients = clients
        self._consumer = consumer
        self._topic = topic
        self._places = [TopicPartition(topic, partition) for partition in range(partitions)]
        self._next = time.monotonic() + _LOOK_S

    def look(self) -> None:
        """BusUnavailableError when there is no answer."""
        if time.monotonic() < self._next:
            return
        with self._clients.converted(self._topic, "Read"):
            self._consumer.end_offsets(self._places, timeout_ms=_ANSWER_MS)
        self._next = time.monotonic() + _LOOK_S


def batches(found: Mapping[Any, Any]) -> list[Batch]:
    """Convert what a consumer's poll returned."""
    return [
        Batch(place.topic, place.partition, [Record(r.offset, r.timestamp, r.key, r.value) for r in records])
        for place, records in found.items()
    ]
