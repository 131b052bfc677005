"""A member of a group on the embedded bus; see serving/bus/port.py for what it promises."""

import time
from collections.abc import Mapping

from serving.bus.embedded.leases import GroupLeases
from serving.bus.embedded.reader import EmbeddedReader
from serving.bus.port import Assigned, Batch, Revoked


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
            self.heartbeat()
            batches = self._reader.poll_until(
                min(deadline, self._next_heartbeat), max_records, lambda: time.monotonic() >= self._next_heartbeat
            )
            if batches or time.monotonic() >= deadline:
                return batches

    def heartbeat(self) -> None:
        """Renew the leases when it is time."""
        if time.monotonic() >= self._next_heartbeat:
            self._renew()

    def position(self, partition: int) -> int:
        """Offset of the next record to be returned."""
        return self._reader.position(partition)

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

    def _renew(self) -> None:
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
