"""Buses that tests pass to what connects to one."""

from collections.abc import Sequence
from pathlib import Path

from protos.topics import Topics, TopicSpec
from serving.bus.embedded.bus import EmbeddedBus
from serving.bus.port import Appended, Bus, Record
from serving.errors import BusUnavailableError

TOPICS = Topics("t.", event_partitions=4)
LEASE_S = 600.0
"""No member loses its partitions because this machine is busy; who goes leaves the group."""


class Connect:
    """Connects to the embedded bus of a folder, except while it is `away`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.away = False
        self.refused = 0

    def __call__(self) -> Bus:
        return _MaybeAway(self)


class _MaybeAway(EmbeddedBus):
    """The embedded bus cannot be away, as a broker can: this one refuses whatever a client does first."""

    def __init__(self, connect: Connect) -> None:
        super().__init__(connect.folder / "bus", lease_s=LEASE_S)
        self._connect = connect

    def ensure_topics(self, topics: Sequence[TopicSpec]) -> None:
        self._refuse()
        super().ensure_topics(topics)

    def append_many(self, topic: str, records: Sequence[tuple[bytes | None, bytes | None]]) -> list[Appended]:
        self._refuse()
        return super().append_many(topic, records)

    def _refuse(self) -> None:
        if self._connect.away:
            self._connect.refused += 1
            raise BusUnavailableError("away")


def append(folder: Path, topic: str, *records: tuple[bytes | None, bytes | None], partition: int | None = None) -> None:
    """Append, from a connection of its own."""
    bus = EmbeddedBus(folder / "bus")
    bus.ensure_topics(TOPICS.all())
    try:
        for key, value in records:
            bus.append(topic, key, value, partition)
    finally:
        bus.close()


def everything(folder: Path, topic: str) -> list[Record]:
    """All records of a topic, partition by partition."""
    bus = EmbeddedBus(folder / "bus")
    bus.ensure_topics(TOPICS.all())
    reader = bus.reader(topic)
    try:
        found: list[Record] = []
        while batches := reader.poll(0):
            found += [record for batch in batches for record in batch.records]
        return found
    finally:
        reader.close()
        bus.close()
