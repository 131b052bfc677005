"""The embedded bus: for one machine, without a server. See serving/bus/port.py for what it promises."""

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from protos.topics import TopicSpec
from serving.bus.embedded.leases import HEARTBEAT_S, LEASE_S, GroupLeases
from serving.bus.embedded.log import EmbeddedLog, TopicInfo
from serving.bus.port import Appended, Assigned, Batch, Record, Revoked

_BUSY_S = 0.002
_IDLE_S = 0.02
_BUSY_FOR_S = 1.0
"""Looks every 2 ms while records come, every 20 ms after a second without: cheap, and a fresh record waits little."""


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

    def reader(self, topic: str, start: Mapping[int, int] | None = None) -> "EmbeddedReader":
        """Read a whole topic."""
        info = self._topic(topic)
        positions = {p: (start or {}).get(p, 0) for p in range(info.partitions)}
        return EmbeddedReader(self._path, topic, info, positions)

    def member(self, group: str, topic: str, assigned: Assigned, revoked: Revoked) -> "EmbeddedMember":
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

    def close(self) -> None:
        """Let the files go."""
        if self._opened is not None:
            self._opened.lease.close()
            self._opened = None


class EmbeddedReader:
    """Reads the partitions that it has positions for, in turn."""

    def __init__(self, path: Path, name: str, topic: TopicInfo, positions: dict[int, int]) -> None:
        self._log = EmbeddedLog(path)
        self._name = name
        self._topic = topic
        self.positions = positions
        self._busy_until = 0.0
        self._closed = False

    def poll(self, timeout_s: float, max_records: int = 4096) -> list[Batch]:
        """Return what there is, waiting up to `timeout_s` for the first."""
        return self.poll_until(time.monotonic() + timeout_s, max_records, lambda: False)

    def poll_until(self, deadline: float, max_records: int, interrupted: Callable[[], bool]) -> list[Batch]:
        """As `poll`; returns early, with nothing, when `interrupted` says so."""
        while True:
            batches = self._read(max_records)
            now = time.monotonic()
            if batches:
                self._busy_until = now + _BUSY_FOR_S
                return batches
            if now >= deadline or interrupted():
                return []
            time.sleep(min(_BUSY_S if now < self._busy_until else _IDLE_S, deadline - now))

    def position(self, partition: int) -> int:
        """Offset of the next record to be returned."""
        return self.positions[partition]

    def seek(self, partition: int, offset: int) -> None:
        """Continue at `offset`."""
        self.positions[partition] = offset

    def close(self) -> None:
        """Let the files go."""
        if not self._closed:
            self._closed = True
            self._log.lease.close()

    def _read(self, most: int) -> list[Batch]:
        batches = []
        ends = self._log.ends(self._topic)
        for partition in sorted(self.positions, key=lambda p: ends[p] - self.positions[p], reverse=True):
            position = self.positions[partition]
            if most <= 0 or position >= ends[partition]:
                break
            records: list[Record] = self._log.read(self._topic, partition, position, most)
            # Everything up to the end may have been compacted or trimmed away.
            self.positions[partition] = records[-1].offset + 1 if records else ends[partition]
            if records:
                most -= len(records)
                batches.append(Batch(self._name, partition, records))
        return batches


class EmbeddedMember:
    """Reads the partitions that its leases give it."""

    def __init__(
        self, reader: EmbeddedReader, leases: GroupLeases, assigned: Assigned, revoked: Revoked, heartbeat_s: float
    ) -> None:
        self._reader = reader
        self._leases = leases
        self._assigned = assigned
        self._revoked = revoked
        self._heartbeat_s = heartbeat_s
        self._next_heartbeat = 0.0
        self._closed = False

    def poll(self, timeout_s: float, max_records: int = 4096) -> list[Batch]:
        """As the reader's, of the partitions that are assigned just now."""
        deadline = time.monotonic() + timeout_s
        while True:
            if time.monotonic() >= self._next_heartbeat:
                self._heartbeat()
            batches = self._reader.poll_until(
                min(deadline, self._next_heartbeat), max_records, lambda: time.monotonic() >= self._next_heartbeat
            )
            if batches or time.monotonic() >= deadline:
                return batches

    def commit(self, offsets: Mapping[int, int]) -> None:
        """Note the next offsets, for lag tools."""
        self._leases.commit(dict(offsets))

    def seek(self, partition: int, offset: int) -> None:
        """Continue an assigned partition at `offset`."""
        if partition in self._reader.positions:
            self._reader.seek(partition, offset)

    def close(self) -> None:
        """Leave the group."""
        if self._closed:
            return
        self._closed = True
        for partition in sorted(self._reader.positions):
            self._revoked(partition)
        self._reader.positions.clear()
        self._leases.leave()
        self._leases.close()
        self._reader.close()

    def _heartbeat(self) -> None:
        owned = set(self._reader.positions)
        for partition in self._leases.to_release(owned):
            self._drop(partition)
        mine = self._leases.renew(set(self._reader.positions))
        for partition in set(self._reader.positions) - mine:
            self._drop(partition)  # its lease ended while we did not look, and somebody took it
        for partition in sorted(mine - set(self._reader.positions)):
            start = self._assigned(partition)
            if start is None:
                start = self._leases.committed(partition) or 0
            self._reader.positions[partition] = start
        self._next_heartbeat = time.monotonic() + self._heartbeat_s

    def _drop(self, partition: int) -> None:
        self._revoked(partition)
        del self._reader.positions[partition]
