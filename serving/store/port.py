"""The store: what near-line computation remembers. Entity states, predictions, and each shard's cursor.

Promised by every implementation, and checked by one contract suite:
- `write` is one atomic step: all of it is durable and visible, or nothing is;
- it refuses with PositionConflictError unless the shard's cursor is the expected one, which fences every writer
  that lost the shard and makes replays harmless;
- a value is read whole or not at all; reading never blocks writing for long.
Not promised: an order between shards, or that a `write` that raised StoreUnavailableError did not happen (read the
cursor to know).

Only near-line workers hold a StoreWriter. Serving workers hold a StoreReader on their event loop.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import msgpack


class Table(Enum):
    """What kinds of entries a shard has. The value is part of the key on disk: never reuse one."""

    STATE = b"s"
    PREDICTION = b"p"


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a shard stands: the next offset to apply, in which incarnation of the log (Bus.identity)."""

    log: str
    offset: int

    def encode(self) -> bytes:
        """Return the bytes that are stored and compared."""
        packed: bytes = msgpack.packb([self.log, self.offset])
        return packed

    @classmethod
    def decode(cls, data: bytes) -> "Cursor":
        """Read back what `encode` wrote."""
        log, offset = msgpack.unpackb(data)
        return cls(log, offset)


@dataclass(frozen=True, slots=True)
class Change:
    """Put a value, or delete with None."""

    table: Table
    key: bytes
    value: bytes | None


class StoreWriter(Protocol):
    """Used by one thread of one near-line worker."""

    def cursor(self, shard: int) -> Cursor | None:
        """Return where the shard stands; None when nothing was ever written."""
        ...

    def read(self, shard: int, table: Table, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the value of each key, None where there is none."""
        ...

    def write(self, shard: int, expected: Cursor | None, new: Cursor, changes: Sequence[Change]) -> None:
        """Apply all changes and move the cursor, or raise PositionConflictError and do nothing."""
        ...

    def scan(self, shard: int, table: Table) -> Iterator[tuple[bytes, bytes]]:
        """Yield every entry of a shard, in no promised order; for tools and tests, slow."""
        ...

    def sweep(self) -> None:
        """Housekeeping that somebody has to do now and then, such as clearing the slots of killed readers."""
        ...

    def close(self) -> None:
        """Free what it holds."""
        ...


@dataclass(frozen=True, slots=True)
class Key:
    """Full address of an entry."""

    shard: int
    table: Table
    key: bytes


class StoreReader(Protocol):
    """Used on the event loop of a serving worker; keys of one call go out together."""

    async def read(self, keys: Sequence[Key]) -> list[bytes | None]:
        """Return the value of each key, None where there is none; StoreUnavailableError when it is away."""
        ...

    async def close(self) -> None:
        """Free what it holds."""
        ...
