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
from typing import NamedTuple, Protocol

from protos.topics import TopicSpec


class Record(NamedTuple):
    """One record as read. A tuple, since there are hundreds of thousands a second."""

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
    """Reads a topic by assignment, without a group: every reader gets every record of what it is assigned."""

    def poll(self, timeout_s: float, max_records: int = 4096) -> list[Batch]:
        """Return what there is, waiting up to `timeout_s` for the first; empty when there was nothing."""
        ...

    def assign(self, positions: Mapping[int, int]) -> None:
        """From now on read these partitions and no others, each from its offset, or from the first record kept after.

        Empty: nothing is read. InvalidRequestError for a partition that the topic has not.
        """
        ...

    def position(self, partition: int) -> int:
        """Offset of the next record to be returned; InvalidRequestError for a partition that is not assigned."""
        ...

    def seek(self, partition: int, offset: int) -> None:
        """Continue at `offset`, or at the first record kept after it; InvalidRequestError as above."""
        ...

    def close(self) -> None:
        """Free what it holds."""
        ...


class Member(Protocol):
    """One member of a group, reading the partitions that the group gives it.

    `assigned(partition)` is called from within `poll` or `heartbeat` and returns the offset to start at; None means the
    group's committed offset, or the start of the partition. `revoked(partition)` is called before the partition goes
    elsewhere, from within `poll`, `heartbeat` or `close`. What is kept in a rebalance is read on meanwhile.

    A member that does neither `poll` nor `heartbeat` for long (embedded: 3 s, Kafka: 10 min) loses its partitions to
    others. It is told by `revoked` in its next call of one of them, before that returns anything, and joins again; a
    process that was stopped meanwhile may still get what had been fetched before it learns of it.
    """

    def poll(self, timeout_s: float, max_records: int = 4096) -> list[Batch]:
        """As Reader.poll, of the partitions that are assigned just now."""
        ...

    def heartbeat(self) -> None:
        """Stay in the group, and take part in its rebalances, without reading: for who has no room for more records."""
        ...

    def position(self, partition: int) -> int:
        """Offset of the next record to be returned; InvalidRequestError for a partition that is not assigned."""
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
        """Create what is missing with its policy; leave what exists as it is.

        InvalidRequestError when one with `like` exists with another number of partitions than the topic it is like.
        """
        ...

    def append(self, topic: str, key: bytes | None, value: bytes | None, partition: int | None = None) -> Appended:
        """Append one record durably. Without `partition` the key decides (protos/partition.py); no key means 0."""
        ...

    def append_many(self, topic: str, records: Sequence[tuple[bytes | None, bytes | None]]) -> list[Appended]:
        """Append records durably, by their keys, in order; much cheaper than one by one."""
        ...

    def reader(self, topic: str, start: Mapping[int, int] | None = None, *, whole: bool = True) -> Reader:
        """Read a topic from `start` (offset by partition; missing = the first record kept).

        Not `whole`: only the partitions in `start`, until Reader.assign says otherwise.
        """
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

    def now_ms(self) -> int | None:
        """Return the time by the clock that append times are of; None where only an append tells it."""
        ...

    def close(self) -> None:
        """Flush and free."""
        ...
