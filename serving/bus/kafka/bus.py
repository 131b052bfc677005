"""The bus on Kafka: for more than one machine. See serving/bus/port.py for what it promises."""

from collections.abc import Mapping, Sequence

from protos.partition import partition_of
from protos.topics import TopicSpec
from serving.bus.kafka.clients import KafkaClients
from serving.bus.kafka.member import KafkaMember
from serving.bus.kafka.producer import KafkaAppender
from serving.bus.kafka.reader import KafkaReader
from serving.bus.kafka.security import Security
from serving.bus.kafka.topics import KafkaTopics
from serving.bus.port import Appended, Assigned, Revoked
from serving.errors import InvalidRequestError, NearlineError


class KafkaBus:
    """Connects on first use. No call waits longer than about 10 s for a broker, beside its own time-out.

    An append that was given up may still have been made: who tries again may append twice.
    """

    def __init__(self, servers: list[str], security: Security | None = None) -> None:
        self._clients = KafkaClients(servers, security)
        self._topics = KafkaTopics(self._clients)
        self._appender = KafkaAppender(self._clients)
        self._counts: dict[str, int] = {}

    def ensure_topics(self, topics: Sequence[TopicSpec]) -> None:
        """Create what is missing, with the broker's replication factor."""
        if topics:
            self._topics.ensure(topics)

    def append(self, topic: str, key: bytes | None, value: bytes | None, partition: int | None = None) -> Appended:
        """Append one record durably."""
        return self._append(topic, [(key, value)], partition)[0]

    def append_many(self, topic: str, records: Sequence[tuple[bytes | None, bytes | None]]) -> list[Appended]:
        """Append all records durably; when it fails, the first of them may have been appended."""
        return self._append(topic, records, None) if records else []

    def reader(self, topic: str, start: Mapping[int, int] | None = None, *, whole: bool = True) -> KafkaReader:
        """Read a topic, or parts of it."""
        return KafkaReader(self._clients, topic, self.partitions(topic), start or {}, whole=whole)

    def member(self, group: str, topic: str, assigned: Assigned, revoked: Revoked) -> KafkaMember:
        """Join a group."""
        return KafkaMember(self._clients, group, topic, self.partitions(topic), assigned, revoked)

    def partitions(self, topic: str) -> int:
        """Count the partitions of a topic."""
        count = self._counts[topic] = self._topics.describe(topic)[0]
        return count

    def end_offsets(self, topic: str) -> dict[int, int]:
        """Return the next offset of each partition."""
        return self._topics.ends(topic, self.partitions(topic))

    def identity(self, topic: str) -> str:
        """Return the topic's id, which Kafka gives anew to each topic that is created."""
        return self._topics.describe(topic)[1]

    def now_ms(self) -> None:
        """Return None: the broker stamps records, and its protocol has no other way to ask for the time."""
        return

    def close(self) -> None:
        """Flush and disconnect."""
        self._appender.close()
        self._topics.close()

    def _append(
        self, topic: str, records: Sequence[tuple[bytes | None, bytes | None]], partition: int | None
    ) -> list[Appended]:
        count = self._counts.get(topic) or self.partitions(topic)
        if partition is not None and not 0 <= partition < count:
            raise InvalidRequestError("partition", f"0 to {count - 1}", partition)
        try:
            return self._appender.append(
                topic,
                (
                    (
                        key,
                        value,
                        partition if partition is not None else partition_of(key, count) if key is not None else 0,
                    )
                    for key, value in records
                ),
            )
        except NearlineError:
            self._counts.pop(topic, None)  # it may be gone, or another one by now
            raise
