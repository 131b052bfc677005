"""The bus: durable topics that many processes append to and read from.

Promised by every implementation, and checked by one contract suite:
- `append` returns after the record is durable; records of a partition are read in the order of their offsets;
- offsets grow but may have gaps (compaction, control records): compare positions, never count records;
- a record's `timestamp_ms` is its append time, by the bus's clock, not falling within a partition;
- a compacted topic keeps at least the newest record of each key; a tombstone is a record without value;
- within a group each partition is read by at most one live member, as far as a lease can promise: a member that
  was stopped may wake up and believe that it still owns one, so writes must be guarded by the store's cursor.
Not promised: transactions, an order across partitions, that a compacted record is gone.

A bus, a reader and a member are each used by one thread at a time, except `append`, which is thread-safe.
All methods raise BusUnavailableError when the bus is away; trying again on the same object may then succeed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from protos.topics import TopicSpec


@dataclass(frozen=True, slots=True)
class Record:
    """One record as read."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None


@dataclass(frozen=True, slots=True)
class Batch:
    """Records of one partition, in order; never empty."""

    topic: str
    partition: int
    records: Sequence[Record]


@dataclass(frozen=True, slots=True)
class Appended:
    """Where a record went, and when by the bus's clock."""

    partition: int
    offset: int
    timestamp_ms: int


class Reader(Protocol):
    """Reads whole topics by assignment, without a group: every reader gets every record."""

    def poll(self, timeout_s: float, max_records: int = 4096) -> list[Batch]:
        """Return what there is, waiting up to `timeout_s` for the first; empty when there was nothing."""
        ...

    def position(self, partition: int) -> int:
        """Offset of the next record to be returned."""
        ...

    def seek(self, partition: int, offset: int) -> None:
        """Continue at `offset`, or at the first record kept after it."""
        ...

    def close(self) -> None:
        """Free what it holds."""
        ...


class Member(Protocol):
    """One member of a group, reading the partitions that the group gives it.

    `assigned(partition)` is called from within `poll` and returns the offset to start at; None means the group's
    committed offset, or the start of the partition. `revoked(partition)` is called before the partition goes
    elsewhere, from within `poll` or `close`.
    """

    def poll(self, timeout_s: float, max_records: int = 4096) -> list[Batch]:
        """As Reader.poll, of the partitions that are assigned just now."""
        ...

    def commit(self, offsets: Mapping[int, int]) -> None:
        """Record the next offset of each partition, for lag tools. Never ahead of what is durable elsewhere."""
        ...

    def seek(self, partition: int, offset: int) -> None:
        """Continue an assigned partition at `offset`."""
        ...

    def close(self) -> None:
        """Leave the group at once, so that others need not wait for the lease to end."""
        ...


Assigned = Callable[[int], int | None]
Revoked = Callable[[int], None]


class Bus(Protocol):
    """A connection to all topics. Made without I/O: the first call connects."""

    def ensure_topics(self, topics: Sequence[TopicSpec]) -> None:
        """Create what is missing with its policy; leave what exists as it is."""
        ...

    def append(self, topic: str, key: bytes | None, value: bytes | None, partition: int | None = None) -> Appended:
        """Append one record durably. Without `partition` the key decides (protos/partition.py); no key means 0."""
        ...

    def append_many(self, topic: str, records: Sequence[tuple[bytes | None, bytes | None]]) -> list[Appended]:
        """Append records durably, by their keys, in order; much cheaper than one by one."""
        ...

    def reader(self, topic: str, start: Mapping[int, int] | None = None) -> Reader:
        """Read a topic from `start` (offset by partition; missing = the first record kept)."""
        ...

    def member(self, group: str, topic: str, assigned: Assigned, revoked: Revoked) -> Member:
        """Join a group."""
        ...

    def partitions(self, topic: str) -> int:
        """Count the partitions of a topic; NotFoundError when there is no such topic."""
        ...

    def end_offsets(self, topic: str) -> dict[int, int]:
        """Return the offset that the next record of each partition will get, or a larger one."""
        ...

    def identity(self, topic: str) -> str:
        """Identify the topic's incarnation: another one after it was deleted and created again."""
        ...

    def close(self) -> None:
        """Flush and free."""
        ...
