"""One member of a consumer group."""

import time
from collections.abc import Iterable, Mapping

from kafka import ConsumerRebalanceListener, OffsetAndMetadata, TopicPartition
from kafka import errors as kafka_errors

from serving.bus.kafka.clients import KafkaClients
from serving.bus.kafka.join import keep_finished_joins, read_on_while_joining
from serving.bus.kafka.reader import Watch, batches, position_of
from serving.bus.partitions import not_assigned
from serving.bus.port import Assigned, Batch, Revoked

_SLICE_S = 0.1
"""So long a newly assigned partition waits at most, when no records come from the others."""
_JOIN_MS = 10
"""So long a heartbeat waits for a rebalance."""
_ANSWER_MS = 4_000
_LEAVE_MS = 2_000
_REBALANCING = (
    kafka_errors.CommitFailedError,
    kafka_errors.RebalanceInProgressError,
    kafka_errors.IllegalGenerationError,
    kafka_errors.UnknownMemberIdError,
)


class KafkaMember:
    """A partition that was assigned is paused until the caller's own thread has asked `assigned` where it starts.

    `revoked` has to be called on the client's I/O thread, because the next step there gives the partition away; the
    thread that polls is waiting for it meanwhile.
    """

    def __init__(
        self, clients: KafkaClients, group: str, topic: str, partitions: int, assigned: Assigned, revoked: Revoked
    ) -> None:
        self._clients = clients
        self._topic = topic
        self._assigned = assigned
        self._revoked = revoked
        self._waiting: set[int] = set()
        self._owned: set[int] = set()
        self._error: Exception | None = None
        self._consumer = clients.consumer(group)
        keep_finished_joins(self._consumer)
        read_on_while_joining(self._consumer)
        self._watch = Watch(clients, self._consumer, topic, partitions)
        self._consumer.subscribe([topic], listener=_Listener(self))

    def poll(self, timeout_s: float, max_records: int = 4096) -> list[Batch]:
        """As the reader's, of the partitions that are assigned just now."""
        deadline = time.monotonic() + timeout_s
        while True:
            self._begin()  # first, so that an error of a callback loses no records
            wait_s = max(0.0, min(_SLICE_S, deadline - time.monotonic()))
            with self._clients.converted(self._topic, "Read"):
                found = self._consumer.poll(timeout_ms=wait_s * 1000, max_records=max_records)
            if found:
                return batches(found)
            if time.monotonic() >= deadline:
                self._watch.look()
                return []

    def heartbeat(self) -> None:
        """Poll with everything paused; what was fetched already stays where it is until the next poll."""
        self._begin()
        owned = [TopicPartition(self._topic, partition) for partition in sorted(self._owned)]
        with self._clients.converted(self._topic, "Read"):
            self._consumer.pause(*owned)
            try:
                self._consumer.poll(timeout_ms=_JOIN_MS)
            finally:
                kept = [place for place in owned if place.partition in self._owned]
                self._consumer.resume(*kept)
        self._begin()

    def position(self, partition: int) -> int:
        """Offset of the next record to be returned."""
        if partition not in self._owned:
            raise not_assigned(self._topic, partition)
        return position_of(self._clients, self._consumer, TopicPartition(self._topic, partition))

    def commit(self, offsets: Mapping[int, int]) -> None:
        """Record the next offsets. In the middle of a rebalance nothing is recorded: the next commit will do."""
        if not offsets:
            return
        wanted = {TopicPartition(self._topic, p): OffsetAndMetadata(offset, "", -1) for p, offset in offsets.items()}
        with self._clients.converted(self._topic, "Read"):
            try:
                self._consumer.commit(wanted, timeout_ms=_ANSWER_MS)
            except _REBALANCING:
                return

    def seek(self, partition: int, offset: int) -> None:
        """Continue an assigned partition at `offset`."""
        if partition in self._owned:
            self._consumer.seek(TopicPartition(self._topic, partition), offset)

    def close(self) -> None:
        """Leave the group."""
        try:
            self.take_away(sorted(self._owned))
            self._raise()
        finally:
            with self._clients.converted(self._topic, "Read"):
                self._consumer.close(autocommit=False, timeout_ms=_LEAVE_MS)

    def hold(self, partitions: Iterable[int]) -> None:
        """Note partitions that came, and read nothing of them yet. On the client's I/O thread."""
        for partition in partitions:
            self._consumer.pause(TopicPartition(self._topic, partition))
            self._waiting.add(partition)

    def take_away(self, partitions: Iterable[int]) -> None:
        """Tell of partitions that go. On the client's I/O thread, or from `close`."""
        for partition in partitions:
            self._waiting.discard(partition)
            if partition in self._owned:
                self._owned.discard(partition)
                try:
                    self._revoked(partition)
                except Exception as error:  # noqa: BLE001 - raised by the poll that waits; here it would end the client
                    self._error = error

    def _begin(self) -> None:
        self._raise()
        for partition in sorted(self._waiting):
            start = self._assigned(partition)
            place = TopicPartition(self._topic, partition)
            if start is not None:
                self._consumer.seek(place, start)
            self._waiting.discard(partition)
            self._owned.add(partition)
            self._consumer.resume(place)

    def _raise(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # kafka-python has no types
    def __init__(self, member: KafkaMember) -> None:
        self._member = member

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self._member.hold(sorted(place.partition for place in assigned))

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        self._member.take_away(sorted(place.partition for place in revoked))

    def on_partitions_lost(self, lost: Iterable[TopicPartition]) -> None:
        self._member.take_away(sorted(place.partition for place in lost))
