"""One pass over the file of a bulk load, a page at a time: rows of this worker's shards go into the load's space.

Progress is written together with the rows, so that whoever restarts in the middle goes on there. Writing a row twice
changes nothing.
"""

import time
from pathlib import Path

import msgpack

from protos.bulk import MAX_MESSAGE_BYTES, BadRowError, Row, decode_row
from protos.partition import partition_of
from protos.records import MILLION, BulkLoad
from serving.models.answers import entry
from serving.models.places import ERASED, bulk_space, load_key
from serving.nearline.fill_record import FillRecord
from serving.nearline.shard import Shard, Shards
from serving.store.port import Change, Rank

_PAGE = 250
_FLUSH = 500
"""Rows of a shard that one write takes: with LMDB each is a sync."""
_READ_BYTES = 1 << 18
_WHOLE = ((0, MILLION),)


class Import:
    """For the shards that have not all of it yet, each from where it stopped. `partitions`: of the whole store."""

    def __init__(self, model: str, load: BulkLoad, path: Path, shards: Shards, partitions: int) -> None:
        self.model, self.load = model, load
        self._key, self._space = load_key(model, load), bulk_space(model, load)
        self._partitions = partitions
        now_ms = time.time_ns() // 1_000_000
        self._records: dict[int, FillRecord] = {}
        for number, shard in shards.items():
            record = shard.loads.get(self._key)
            if record is None or record.stopped_ms or record.total != load.rows:
                record = FillRecord(
                    _WHOLE, known=False, total=load.rows, left=load.rows, began_ms=now_ms, scheduled_ms=0
                )
            self._records[number] = record
        self._rows: dict[int, list[Row]] = {number: [] for number in self._records}
        self.at, self._over = 0, False
        self._first = min(record.total - record.left for record in self._records.values())
        self._file = path.open("rb")
        self._unpacker = msgpack.Unpacker(
            self._file, raw=True, use_list=False, read_size=_READ_BYTES, max_buffer_size=MAX_MESSAGE_BYTES + _READ_BYTES
        )

    def leave(self, shard: int) -> None:
        """Go on without a shard."""
        self._records.pop(shard, None)
        self._rows.pop(shard, None)

    def page(self, shards: Shards) -> int | None:
        """Read a page, and write a shard's rows if there are enough; return how many were read, None = all is done.

        BadRowError, OSError.
        """
        if not self._records:
            return None
        try:
            return self._page(shards)
        except (ValueError, msgpack.UnpackException) as error:
            raise BadRowError(f"row {self.at}: {error}") from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _page(self, shards: Shards) -> int | None:
        read = self._read()
        # One write a page: live events wait for it.
        number, rows = max(self._rows.items(), key=lambda one: len(one[1]))
        if self._over or len(rows) >= _FLUSH:
            self._flush(shards[number], rows)
            if self._over:
                self.leave(number)
        return read if self._records else None

    def _read(self) -> int:
        read = 0
        while read < _PAGE and self.at < self.load.rows:
            read += 1
            if self.at < self._first:
                self._unpacker.skip()
                self.at += 1
                continue
            row = decode_row(self._unpacker.unpack(), self.model, self.load.version)
            self.at += 1
            rows = self._rows.get(partition_of(row.entity, self._partitions))
            if rows is not None:
                rows.append(row)
        if self.at >= self.load.rows and not self._over:
            self._demand_end()
            self._over = True
        return read

    def _demand_end(self) -> None:
        try:
            self._unpacker.skip()
        except msgpack.OutOfData:
            return
        raise BadRowError(f"file: expected {self.load.rows} rows, got more")

    def _flush(self, shard: Shard, rows: list[Row]) -> None:
        changes: list[Change | Rank] = [
            Change(self._space, row.entity, entry(row.message, row.computed_at_ms)) for row in _living(shard, rows)
        ]
        record = self._records[shard.number]
        left = self.load.rows - max(self.at, record.total - record.left)
        record = FillRecord(_WHOLE, self._over, record.total, left, record.began_ms, 0)
        shard.note_load(changes, self._key, record)
        shard.write(changes)
        self._records[shard.number] = record
        rows.clear()


def _living(shard: Shard, rows: list[Row]) -> list[Row]:
    """Leave out entities that were erased since their prediction was computed: nothing of them comes back."""
    if not shard.erased or not rows:
        return rows
    erased = shard.store.read(shard.number, ERASED, [row.entity for row in rows])
    return [
        row
        for row, stored in zip(rows, erased, strict=True)
        if stored is None or int.from_bytes(stored) < row.computed_at_ms
    ]
