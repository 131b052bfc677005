"""Members of a group that note what they are told, and what they read."""

from collections import defaultdict

from serving.bus.port import Bus, Member
from tests.bus.harness import flat


class Store:
    """What members did, and how far they came: written by all in turn, read by whoever is given a partition."""

    def __init__(self) -> None:
        self.positions: dict[int, int] = {}
        self.found: dict[int, list[bytes | None]] = defaultdict(list)


class Watched:
    """A member, and what it was told."""

    def __init__(
        self,
        bus: Bus,
        group: str,
        name: str,
        starts: dict[int, int | None] | None = None,
        store: Store | None = None,
    ) -> None:
        self._store = store
        self.owned: set[int] = set()
        self.asked: list[int] = []
        self.found: list[tuple[int, bytes | None]] = []
        self._starts = starts or {}
        self.member: Member = bus.member(group, name, self._assigned, self._revoked)

    def poll(self, timeout_s: float = 0.05, max_records: int = 4096) -> None:
        for partition, record in flat(self.member.poll(timeout_s, max_records)):
            self.found.append((partition, record.value))
            if self._store is not None:
                self._store.found[partition].append(record.value)
                self._store.positions[partition] = record.offset + 1

    def _assigned(self, partition: int) -> int | None:
        assert partition not in self.owned
        self.owned.add(partition)
        self.asked.append(partition)
        return self._store.positions.get(partition, 0) if self._store is not None else self._starts.get(partition)

    def _revoked(self, partition: int) -> None:
        self.owned.remove(partition)
