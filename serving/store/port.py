"""The store: what near-line computation remembers, shard by shard.

A shard has a cursor, spaces (key -> value) and rankings (member -> score, in order of scores). Names of spaces and
rankings belong to the callers; those of one shard share nothing with another's.

Promised by every implementation, and checked by one contract suite:
- `write` is one atomic step: all of it is durable and visible, or nothing is;
- it refuses with PositionConflictError unless the shard's cursor is the expected one, which fences every writer
  that lost the shard and makes replays harmless;
- a value is read whole or not at all; reading never blocks writing for long;
- a full store refuses what would make it grow (StoreFullError), and still removes;
- names, keys and scores outside the limits below are refused (InvalidRequestError) before anything is written.
Not promised: an order between shards, that several calls see the same instant, or that a `write` that raised
StoreUnavailableError did not happen (read the cursor to know).

Only near-line workers hold a StoreWriter. Serving workers hold a StoreReader on their event loop.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import msgpack

MAX_NAME = 120
"""Bytes of the name of a space or ranking; at least 1."""
MAX_KEY = 376
"""Bytes of a key or member: what LMDB's 511 leave beside the longest name and a score."""
MAX_SCORE = 2**53 - 1
"""What a double holds exactly, since Redis keeps scores as doubles."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a shard stands: the next offset to apply in each log, by the log's incarnation (Bus.identity)."""

    positions: tuple[tuple[str, int], ...]

    def offset(self, log: str) -> int | None:
        """Return the next offset in a log; None when the shard never applied anything of this incarnation."""
        return next((offset for name, offset in self.positions if name == log), None)

    def encode(self) -> bytes:
        """Return the bytes that are stored and compared."""
        packed: bytes = msgpack.packb(self.positions)
        return packed

    @classmethod
    def decode(cls, data: bytes) -> "Cursor":
        """Read back what `encode` wrote."""
        return cls(tuple((log, offset) for log, offset in msgpack.unpackb(data)))


class Change(NamedTuple):
    """Put a value into a space, or delete with None."""

    space: bytes
    key: bytes
    value: bytes | None


class Rank(NamedTuple):
    """Set a member's score in a ranking, 0 to MAX_SCORE, or take it out with None."""

    ranking: bytes
    member: bytes
    score: int | None


class Usage(NamedTuple):
    """Bytes that a store takes, and may take; None = without a limit."""

    bytes_used: int
    bytes_budget: int | None


class StoreWriter(Protocol):
    """Used by one thread of one near-line worker."""

    def cursor(self, shard: int) -> Cursor | None:
        """Return where the shard stands; None when nothing was ever written."""
        ...

    def read(self, shard: int, space: bytes, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the value of each key, None where there is none."""
        ...

    def write(self, shard: int, expected: Cursor | None, new: Cursor, changes: Sequence[Change | Rank]) -> None:
        """Apply all changes and move the cursor, or raise PositionConflictError and do nothing.

        The last change of a key or member counts. `new` may be `expected`: that is guarded, but fences nobody.
        """
        ...

    def together(self) -> AbstractContextManager[None]:
        """Let the writes within become durable at its end, in one step where the store can: one sync for many shards.

        When something raises within, or at its end, some or all of them may not have happened: read the cursors.
        Hold it for writes alone, since no other process writes meanwhile.
        """
        ...

    def drop(self, shard: int, expected: Cursor | None, name: bytes, limit: int) -> bool:
        """Remove at most `limit` entries of the space and ranking of this name; True = nothing is left of them.

        PositionConflictError as for `write`; the cursor stays.
        """
        ...

    def scan(self, shard: int, space: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the entries of a space, page by page, in no promised order.

        What is there all the while is yielded at least once; what is written meanwhile, perhaps.
        """
        ...

    def spaces(self, shard: int) -> list[bytes]:
        """Return the names of the spaces that hold anything, sorted."""
        ...

    def count(self, shard: int, space: bytes) -> int:
        """Return how many entries a space has. LMDB walks over them: 0.2 us an entry."""
        ...

    def ranked(
        self,
        shard: int,
        ranking: bytes,
        limit: int,
        *,
        least: int = 0,
        most: int = MAX_SCORE,
        after: tuple[bytes, int] | None = None,
    ) -> list[tuple[bytes, int]]:
        """Return the first `limit` members with a score from `least` to `most`, ascending by (score, member).

        `after`: only those behind this member and score, which need not be there any more: the next page.
        """
        ...

    def ranks(self, shard: int, ranking: bytes, members: Sequence[bytes]) -> list[int | None]:
        """Return the score of each member, None where it is not in the ranking."""
        ...

    def rankings(self, shard: int) -> list[bytes]:
        """Return the names of the rankings that hold anything, sorted."""
        ...

    def size(self, shard: int, ranking: bytes) -> int:
        """Return how many members a ranking has, without walking over them."""
        ...

    def usage(self) -> Usage:
        """Return how full the store is."""
        ...

    def sweep(self) -> None:
        """Housekeeping that somebody has to do now and then, such as clearing the slots of killed readers."""
        ...

    def close(self) -> None:
        """Free what it holds."""
        ...


class Key(NamedTuple):
    """Full address of an entry."""

    shard: int
    space: bytes
    key: bytes


class Slot:
    """Where one entry stands, for whoever reads it again and again.

    Made by a StoreReader, which keeps in it what it read last: what is still the same is neither checked nor copied.
    """

    __slots__ = ("address", "stored", "value")

    def __init__(self, address: bytes) -> None:
        self.address = address
        self.stored: bytes | None = None
        self.value: bytes | None = None


class StoreReader(Protocol):
    """Used on the event loop of a serving worker; keys of one call go out together."""

    def slot(self, key: Key) -> Slot:
        """Return the slot of a key; InvalidRequestError as for `read`."""
        ...

    def read_slots(self, slots: Sequence[Slot]) -> list[bytes | None] | None:
        """As `read_now`. While an entry stays as it is, so does the object that is returned for it."""
        ...

    def read_now(self, keys: Sequence[Key]) -> list[bytes | None] | None:
        """As `read`, where that needs no waiting; None where it does, whatever the keys."""
        ...

    async def read(self, keys: Sequence[Key]) -> list[bytes | None]:
        """Return the value of each key, None where there is none; StoreUnavailableError when it is away."""
        ...

    async def close(self) -> None:
        """Free what it holds."""
        ...
