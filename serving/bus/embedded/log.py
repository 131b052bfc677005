"""The durable log in LMDB: topics, partitions, records. Several processes append and read at the same time.

Named databases: `topics` name -> description; `records` (topic, partition, offset) -> [timestamp, key, value];
`ends` (topic, partition) -> next offset and last timestamp; `newest` (topic, partition, hash of key) -> offset, for
compacted topics, whose older record of a key goes in the transaction that appends the newer.
"""

import hashlib
import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from struct import Struct
from typing import Any

import msgpack

from protos.partition import partition_of
from protos.topics import Kept, TopicSpec
from serving.bus.embedded.files import ENDS, NEWEST, RECORDS, TOPICS, open_files
from serving.bus.partitions import check_partitions, wanted_partitions
from serving.bus.port import Appended, Record
from serving.errors import InvalidRequestError, NotFoundError

_PLACE = Struct(">IHQ")
_PART = Struct(">IH")
_END = Struct(">QQ")
_TRIM = 8
"""Expired records that one append removes at most, beside its own number."""
_HASH = 16


def clock_ms() -> int:
    """Return the time that records are stamped with."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class TopicInfo:
    """A topic as it was created."""

    number: int
    identity: str
    partitions: int
    kept: str
    retention_s: int


class EmbeddedLog:
    """Each method is one transaction."""

    def __init__(self, path: Path) -> None:
        self.lease = open_files(path)
        self._topics, self._records, self._ends, self._newest = (
            self.lease.databases[name] for name in (TOPICS, RECORDS, ENDS, NEWEST)
        )

    def ensure(self, specs: Sequence[TopicSpec]) -> None:
        """Create what is missing."""
        with self.lease.reading() as transaction:
            counts = self._counts(transaction, specs)
        if any(spec.name not in counts for spec in specs):
            with self.lease.writing() as transaction:
                self._create(transaction, specs)
                counts = self._counts(transaction, specs)
        check_partitions(specs, counts)

    def topic(self, name: str) -> TopicInfo:
        """Describe a topic; NotFoundError."""
        with self.lease.reading() as transaction:
            data = transaction.get(name.encode(), db=self._topics)
        if data is None:
            raise NotFoundError(f"topic {name!r}: expected one that was created, got none")
        return TopicInfo(**msgpack.unpackb(data))

    def append(
        self, topic: TopicInfo, records: Sequence[tuple[bytes | None, bytes | None]], partition: int | None
    ) -> list[Appended]:
        """Append all, durably, or nothing."""
        if partition is not None and not 0 <= partition < topic.partitions:
            raise InvalidRequestError("partition", f"0 to {topic.partitions - 1}", partition)
        now = clock_ms()
        appended = []
        with self.lease.writing() as transaction:
            for key, value in records:
                where = partition
                if where is None:
                    where = partition_of(key, topic.partitions) if key is not None else 0
                appended.append(self._append(transaction, topic, where, now, key, value))
            if topic.kept == Kept.BY_TIME.value:
                for where in {entry.partition for entry in appended}:
                    self._trim(transaction, topic, where, now, len(records) + _TRIM)
        return appended

    def read(self, topic: TopicInfo, partition: int, offset: int, most: int) -> list[Record]:
        """Return records from `offset` on, or from the first one kept after it."""
        with self.lease.reading() as transaction:
            next_offset, _ = self._end(transaction, topic, partition)
            if offset >= next_offset:
                return []
            cursor = transaction.cursor(db=self._records)
            prefix = _PART.pack(topic.number, partition)
            found = cursor.set_range(_PLACE.pack(topic.number, partition, offset))
            records: list[Record] = []
            while found and len(records) < most and cursor.key()[: len(prefix)] == prefix:
                timestamp, key, value = msgpack.unpackb(cursor.value())
                records.append(Record(_PLACE.unpack(cursor.key())[2], timestamp, key, value))
                found = cursor.next()
        return records

    def ends(self, topic: TopicInfo) -> dict[int, int]:
        """Return the next offset of each partition."""
        with self.lease.reading() as transaction:
            return {p: self._end(transaction, topic, p)[0] for p in range(topic.partitions)}

    def _create(self, transaction: Any, specs: Sequence[TopicSpec]) -> None:
        for spec in sorted(specs, key=lambda spec: bool(spec.like)):
            counts = self._counts(transaction, specs)
            if spec.name not in counts:
                number = transaction.stat(self._topics)["entries"] + 1
                partitions = wanted_partitions(spec, counts)
                info = TopicInfo(number, uuid.uuid4().hex, partitions, spec.kept.value, spec.retention_s)
                transaction.put(spec.name.encode(), msgpack.packb(asdict(info)), db=self._topics)

    def _counts(self, transaction: Any, specs: Sequence[TopicSpec]) -> dict[str, int]:
        names = {spec.name for spec in specs} | {spec.like for spec in specs if spec.like}
        found = {name: transaction.get(name.encode(), db=self._topics) for name in names}
        return {name: TopicInfo(**msgpack.unpackb(data)).partitions for name, data in found.items() if data is not None}

    def _append(
        self, transaction: Any, topic: TopicInfo, partition: int, now: int, key: bytes | None, value: bytes | None
    ) -> Appended:
        offset, last = self._end(transaction, topic, partition)
        timestamp = max(now, last)  # the clock may step back; append times must not
        place = _PLACE.pack(topic.number, partition, offset)
        transaction.put(place, msgpack.packb([timestamp, key, value]), db=self._records)
        transaction.put(_PART.pack(topic.number, partition), _END.pack(offset + 1, timestamp), db=self._ends)
        if topic.kept == Kept.COMPACTED.value and key is not None:
            name = _PART.pack(topic.number, partition) + hashlib.blake2b(key, digest_size=_HASH).digest()
            before = transaction.get(name, db=self._newest)
            if before is not None:
                transaction.delete(before, db=self._records)
            transaction.put(name, place, db=self._newest)
        return Appended(partition, offset, timestamp)

    def _trim(self, transaction: Any, topic: TopicInfo, partition: int, now: int, most: int) -> None:
        oldest = now - topic.retention_s * 1000
        prefix = _PART.pack(topic.number, partition)
        cursor = transaction.cursor(db=self._records)
        found = cursor.set_range(prefix)
        while found and most and cursor.key().startswith(prefix):
            if msgpack.unpackb(cursor.value())[0] >= oldest:
                return
            found = cursor.delete() and bool(cursor.key())
            most -= 1

    def _end(self, transaction: Any, topic: TopicInfo, partition: int) -> tuple[int, int]:
        stored = transaction.get(_PART.pack(topic.number, partition), db=self._ends)
        return _END.unpack(stored) if stored is not None else (0, 0)
