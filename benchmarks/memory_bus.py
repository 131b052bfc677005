"""A bus that holds one topic of events in memory: what near-line computation costs without a broker."""

from collections.abc import Mapping, Sequence

from protos.partition import partition_of
from protos.topics import TopicSpec
from serving.bus.port import Appended, Assigned, Batch, Reader, Record, Revoked


class MemoryBus:
    """Read once, by one member that owns every partition. See serving/bus/port.py."""

    def __init__(self, topic: str, partitions: int, records: Sequence[tuple[bytes, bytes]], appended_ms: int) -> None:
        self._topic = topic
        self._partitions = partitions
        self._log: list[list[Record]] = [[] for _ in range(partitions)]
        for key, value in records:
            log = self._log[partition_of(key, partitions)]
            log.append(Record(len(log), appended_ms, key, value))

    def ensure_topics(self, topics: Sequence[TopicSpec]) -> None:
        """Nothing to be done."""

    def append(self, topic: str, key: bytes | None, value: bytes | None, partition: int | None = None) -> Appended:
        """Refuse: nothing is dead here."""
        raise NotImplementedError(topic, key, value, partition)

    def append_many(self, topic: str, records: Sequence[tuple[bytes | None, bytes | None]]) -> list[Appended]:
        """Refuse: nothing is dead here."""
        raise NotImplementedError(topic, records)

    def reader(self, topic: str, start: Mapping[int, int] | None = None, *, whole: bool = True) -> Reader:
        """A topic without records."""
        del topic, start, whole
        return _Nothing()

    def member(self, group: str, topic: str, assigned: Assigned, revoked: Revoked) -> "_Member":
        """The only member."""
        del group, topic, revoked
        return _Member(self._topic, self._log, assigned)

    def partitions(self, topic: str) -> int:
        """Of events and commands alike."""
        del topic
        return self._partitions

    def end_offsets(self, topic: str) -> dict[int, int]:
        """Of the events; no other topic holds anything."""
        return {partition: len(log) if topic == self._topic else 0 for partition, log in enumerate(self._log)}

    def identity(self, topic: str) -> str:
        """Always the same."""
        return f"memory:{topic}"

    def now_ms(self) -> None:
        """Nobody asks."""

    def close(self) -> None:
        """Nothing to be done."""


class _Nothing:
    def poll(self, timeout_s: float, max_records: int = 4096) -> list[Batch]:
        del timeout_s, max_records
        return []

    def assign(self, positions: Mapping[int, int]) -> None:
        del positions

    def position(self, partition: int) -> int:
        return partition * 0

    def seek(self, partition: int, offset: int) -> None:
        del partition, offset

    def close(self) -> None:
        """Nothing to be done."""


class _Member(_Nothing):
    def __init__(self, topic: str, log: Sequence[Sequence[Record]], assigned: Assigned) -> None:
        self._topic = topic
        self._log = log
        self._assigned = assigned
        self._at: list[int] = []
        self._turn = 0

    def poll(self, timeout_s: float, max_records: int = 4096) -> list[Batch]:
        del timeout_s
        if not self._at:
            self._at = [self._assigned(partition) or 0 for partition in range(len(self._log))]
        for _ in self._log:
            partition = self._turn = (self._turn + 1) % len(self._log)
            records = self._log[partition][self._at[partition] : self._at[partition] + max_records]
            if records:
                self._at[partition] += len(records)
                return [Batch(self._topic, partition, records)]
        return []

    def heartbeat(self) -> None:
        """Nothing to be done."""

    def position(self, partition: int) -> int:
        return self._at[partition]

    def commit(self, offsets: Mapping[int, int]) -> None:
        del offsets

    def seek(self, partition: int, offset: int) -> None:
        self._at[partition] = offset
