"""Reads partitions of the embedded log by polling it; see serving/bus/port.py for what it promises."""

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from serving.bus.embedded.log import EmbeddedLog, TopicInfo
from serving.bus.partitions import check_assignment, not_assigned
from serving.bus.port import Batch, Record

_LEAST_S, _MOST_S = 0.002, 0.02
_PART = 1 / 8
"""It looks again after this part of the time for which nothing has come: a fresh record waits little beside that, and
where several processes of a node look, the work that a record is the beginning of has the processor to itself."""


class EmbeddedReader:
    """Reads the partitions that it has positions for, in turn."""

    def __init__(self, path: Path, name: str, topic: TopicInfo, positions: dict[int, int]) -> None:
        self._log = EmbeddedLog(path)
        self._name = name
        self._topic = topic
        self.positions = positions
        self._last_news = -math.inf
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
                self._last_news = now
                return batches
            if now >= deadline or interrupted():
                return []
            pause_s = min(max(_LEAST_S, (now - self._last_news) * _PART), _MOST_S)
            time.sleep(min(pause_s, deadline - now))

    def assign(self, positions: Mapping[int, int]) -> None:
        """Read these partitions from now on, and no others."""
        check_assignment(positions, self._topic.partitions)
        self.positions = dict(positions)

    def position(self, partition: int) -> int:
        """Offset of the next record to be returned."""
        if partition not in self.positions:
            raise not_assigned(self._name, partition)
        return self.positions[partition]

    def seek(self, partition: int, offset: int) -> None:
        """Continue at `offset`."""
        if partition not in self.positions:
            raise not_assigned(self._name, partition)
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
