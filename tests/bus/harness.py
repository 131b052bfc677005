"""What the bus tests need of each implementation beyond the port: more connections, and what only operators do."""

import shutil
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from protos.topics import Kept, TopicSpec
from serving.bus.connect import connect_bus
from serving.bus.port import Batch, Bus, Member, Record
from serving.settings import Settings

T = TypeVar("T")

WAIT_S = 60.0


class Harness(Protocol):
    """One implementation under test."""

    settings: Settings

    def connect(self) -> Bus:
        """Return a bus of its own; closed at the end of the test."""
        ...

    def delete(self, topic: str) -> None:
        """Delete a topic, as an operator would. Buses made before are of no use afterwards."""
        ...

    def trim(self, topic: str, partition: int, before: int) -> None:
        """Let records go that are old. Topics for this are kept by time, for 0 seconds."""
        ...

    def hasten_compaction(self, topic: str) -> None:
        """Make compaction happen while the test waits, when something is appended."""
        ...

    def is_joining(self, member: Member) -> bool:
        """Whether a member waits for others to take part in a rebalance."""
        ...

    def close(self) -> None:
        """Close what was connected."""
        ...


class _Connections:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._buses: list[Bus] = []

    def connect(self) -> Bus:
        bus = connect_bus(self.settings)
        self._buses.append(bus)
        return bus

    def close(self) -> None:
        while self._buses:
            self._buses.pop().close()


class EmbeddedHarness(_Connections):
    """The log in LMDB."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__(Settings(data_dir=data_dir))

    def delete(self, topic: str) -> None:
        del topic  # what a person can delete is the whole bus
        self.close()
        shutil.rmtree(self.settings.data_dir / "bus")

    def trim(self, topic: str, partition: int, before: int) -> None:
        del topic, partition, before  # appending does it

    def hasten_compaction(self, topic: str) -> None:
        del topic  # appending does it

    def is_joining(self, member: Member) -> bool:
        del member  # nobody waits for others here, only for single partitions
        return True


class KafkaHarness(_Connections):
    """A real broker."""

    def __init__(self, servers: str, settings: Settings) -> None:
        """`servers`: where an operator may do everything without a login."""
        super().__init__(settings)
        self._servers = servers

    def delete(self, topic: str) -> None:
        def delete(admin: Any) -> None:
            admin.delete_topics([topic])
            # The controller has deleted it; brokers learn that a little later, and answer from what they know.
            until(lambda: admin.describe_topics([topic])[0]["error_code"] != 0)

        self._administer(delete)

    def trim(self, topic: str, partition: int, before: int) -> None:
        from kafka import TopicPartition  # noqa: PLC0415 - as below

        self._administer(lambda admin: admin.delete_records({TopicPartition(topic, partition): before}))

    def hasten_compaction(self, topic: str) -> None:
        from kafka.admin import ConfigResource, ConfigResourceType  # noqa: PLC0415 - as below

        settings = {
            "segment.ms": "100",
            "min.cleanable.dirty.ratio": "0.01",
            "max.compaction.lag.ms": "100",
            "delete.retention.ms": "100",
        }
        changed = ConfigResource(ConfigResourceType.TOPIC, topic, settings)
        self._administer(lambda admin: admin.alter_configs([changed]))

    def is_joining(self, member: Member) -> bool:
        joining: bool = member._consumer._coordinator.rejoining  # type: ignore[attr-defined]  # Kafka's
        return joining

    def _administer(self, action: Callable[[Any], object]) -> None:
        from kafka import KafkaAdminClient  # noqa: PLC0415 - tests of the embedded bus do without

        admin = KafkaAdminClient(bootstrap_servers=self._servers)
        try:
            action(admin)
        finally:
            admin.close()


def topic(kept: Kept = Kept.FOR_EVER, partitions: int = 1, retention_s: int = 0) -> TopicSpec:
    """Describe a topic that no other test has."""
    return TopicSpec(f"test-{uuid.uuid4().hex}", partitions, kept, retention_s)


def until(condition: Callable[[], T | None], doing: Callable[[], object] = lambda: None) -> T:
    """Evaluate, and do, again and again until it is true, and return that. One of the two has to wait: it polls."""
    deadline = time.monotonic() + WAIT_S
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not true within {WAIT_S:g} s"
        doing()
    return found


def flat(batches: list[Batch]) -> list[tuple[int, Record]]:
    """(partition, record) of each record."""
    return [(batch.partition, record) for batch in batches for record in batch.records]


def read_all(bus: Bus, name: str, start: dict[int, int] | None = None) -> list[tuple[int, Record]]:
    """Read from `start` to the ends of just now."""
    ends = bus.end_offsets(name)
    reader = bus.reader(name, start)
    found: list[tuple[int, Record]] = []
    try:

        def there() -> bool:
            found.extend(flat(reader.poll(0.05)))
            return all(reader.position(partition) >= end for partition, end in ends.items())

        until(there)
    finally:
        reader.close()
    return found


def values(found: list[tuple[int, Record]]) -> list[bytes | None]:
    """Only the values."""
    return [record.value for _, record in found]


def fill(bus: Bus, name: str) -> dict[int, list[int]]:
    """Four records on each of four partitions; return their offsets."""
    return {p: [bus.append(name, b"key", b"%d" % n, partition=p).offset for n in range(4)] for p in range(4)}
