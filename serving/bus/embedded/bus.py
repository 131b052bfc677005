"""The embedded bus: for one machine, without a server. See serving/bus/port.py for what it promises."""

import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from protos.topics import TopicSpec
from serving.bus.embedded.leases import HEARTBEAT_S, LEASE_S, GroupLeases
from serving.bus.embedded.log import EmbeddedLog, TopicInfo, clock_ms
from serving.bus.embedded.member import EmbeddedMember
from serving.bus.embedded.reader import EmbeddedReader
from serving.bus.partitions import check_assignment
from serving.bus.port import Appended, Assigned, Revoked


class EmbeddedBus:
    """Opens its files on first use."""

    def __init__(self, path: Path, *, lease_s: float = LEASE_S) -> None:
        self._path = path
        self._lease_s = lease_s
        self._opened: EmbeddedLog | None = None
        self._known: dict[str, TopicInfo] = {}

    @property
    def _log(self) -> EmbeddedLog:
        if self._opened is None:
            self._opened = EmbeddedLog(self._path)
        return self._opened

    def _topic(self, name: str) -> TopicInfo:
        info = self._known.get(name)
        if info is None:
            info = self._known[name] = self._log.topic(name)
        return info

    def ensure_topics(self, topics: Sequence[TopicSpec]) -> None:
        """Create what is missing."""
        self._log.ensure(topics)

    def append(self, topic: str, key: bytes | None, value: bytes | None, partition: int | None = None) -> Appended:
        """Append one record durably."""
        return self._log.append(self._topic(topic), [(key, value)], partition)[0]

    def append_many(self, topic: str, records: Sequence[tuple[bytes | None, bytes | None]]) -> list[Appended]:
        """Append all records durably, or none."""
        return self._log.append(self._topic(topic), records, None) if records else []

    def reader(self, topic: str, start: Mapping[int, int] | None = None, *, whole: bool = True) -> EmbeddedReader:
        """Read a topic, or parts of it."""
        info = self._topic(topic)
        positions = dict(start or {})
        check_assignment(positions, info.partitions)
        if whole:
            positions = {p: positions.get(p, 0) for p in range(info.partitions)}
        return EmbeddedReader(self._path, topic, info, positions)

    def member(self, group: str, topic: str, assigned: Assigned, revoked: Revoked) -> EmbeddedMember:
        """Join a group."""
        info = self._topic(topic)
        name = uuid.uuid4().hex
        leases = GroupLeases(self._path, group, topic, info.partitions, name, self._lease_s)
        heartbeat_s = min(HEARTBEAT_S, self._lease_s / 4)
        return EmbeddedMember(EmbeddedReader(self._path, topic, info, {}), leases, assigned, revoked, heartbeat_s)

    def partitions(self, topic: str) -> int:
        """Count the partitions of a topic."""
        return self._topic(topic).partitions

    def end_offsets(self, topic: str) -> dict[int, int]:
        """Return the next offset of each partition."""
        return self._log.ends(self._topic(topic))

    def identity(self, topic: str) -> str:
        """Identify the topic's incarnation."""
        return self._topic(topic).identity

    def now_ms(self) -> int:
        """Return this machine's time: all who append are on it."""
        return clock_ms()

    def close(self) -> None:
        """Let the files go."""
        if self._opened is not None:
            self._opened.lease.close()
            self._opened = None
