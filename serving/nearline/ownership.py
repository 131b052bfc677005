"""The shards that the group gives this worker, and where it reads on in the topics that go with them."""

from collections.abc import Callable, Collection, Iterator, Mapping

import structlog

from serving.bus.port import Member, Reader
from serving.errors import PositionConflictError
from serving.nearline.shard import Shard
from serving.store.port import StoreWriter

log = structlog.get_logger()


class Ownership:
    """Begins each shard at the store's cursor, whoever wrote it. `logs`: identities of `events` and `commands`.

    `assigned` and `revoked` are what a Member calls; `leave(shard)` is called for each shard that goes, or that is read
    anew.
    """

    def __init__(self, logs: tuple[str, str], store: StoreWriter, leave: Callable[[int], None]) -> None:
        self._logs = logs
        self._store = store
        self._leave = leave
        self._moved = True
        self._ordered: dict[int, int] = {}
        self.shards: dict[int, Shard] = {}

    def assigned(self, number: int) -> int:
        """Take a shard over; return the offset of its first event."""
        shard = Shard(number, self._logs, self._store)
        shard.load()
        self.shards[number] = shard
        self._moved = True
        events, commands = shard.positions
        log.info("shard.assigned", shard=number, position=events, commands=commands)
        return events

    def revoked(self, number: int) -> None:
        """Give a shard away."""
        log.info("shard.revoked", shard=number)
        self.shards.pop(number, None)
        self._ordered.pop(number, None)
        self._leave(number)
        self._moved = True

    def follow(self, commands: Reader, ends: Callable[[], Mapping[int, int]]) -> None:
        """Let a reader of `commands` read the partitions of these shards, after they changed.

        `ends`: where its partitions end now.
        """
        if self._moved:
            commands.assign({number: shard.positions[1] for number, shard in self.shards.items()})
            found = ends()
            self._ordered = {number: found.get(number, 0) for number in self.shards}
            self._moved = False

    def awaiting_orders(self, commands: Reader) -> Collection[int]:
        """Return the shards whose commands from before they came have not all been read.

        Their events have to wait. A replay would otherwise meet an erasure behind events from after it, and lose them.
        """
        if self._ordered:
            self._ordered = {n: end for n, end in self._ordered.items() if commands.position(n) < end}
        return self._ordered.keys()

    def put_back(self, number: int, member: Member) -> None:
        """Let the events of a shard come once more, from where the store stands."""
        shard = self.shards.get(number)
        if shard is not None:
            member.seek(number, shard.positions[0])

    def verify(self) -> None:
        """Raise PositionConflictError where the store stands elsewhere: in a quiet shard no write would notice it."""
        for number, shard in self.shards.items():
            stored = self._store.cursor(number)
            if stored != shard.cursor:
                raise PositionConflictError(f"shard {number}: expected the cursor {shard.cursor}, got {stored}")

    def reload(self, member: Member) -> None:
        """Read every shard anew, and go on where the store stands: it has moved on, or back, without us."""
        for number, shard in self.shards.items():
            self._leave(number)
            shard.load()
            member.seek(number, shard.positions[0])
        self._moved = True

    def __iter__(self) -> Iterator[Shard]:
        return iter(self.shards.values())
