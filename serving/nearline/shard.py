"""A shard that this worker owns: its cursor, and what is remembered of its content between two writes.

Everything here can be read anew from the store, and is when somebody else has written.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from serving.models.places import DUE, ERASED, FILLS, HOUR_MS, LOADS, PREDICTIONS
from serving.nearline.fill_record import FillRecord
from serving.store.port import Change, Cursor, Rank, StoreWriter

_ACTIVE = 200_000
"""Entities that are remembered as ranked in this hour; more are ranked once more, which changes nothing."""


@dataclass(slots=True)
class Shard:
    """`logs`: identities of `events` and `commands`, in this order. `predictions`: versions that have a space."""

    number: int
    logs: tuple[str, str]
    store: StoreWriter
    cursor: Cursor | None = None
    fills: dict[bytes, FillRecord] = field(default_factory=dict)
    loads: dict[bytes, FillRecord] = field(default_factory=dict)
    predictions: set[bytes] = field(default_factory=set)
    due: set[bytes] = field(default_factory=set)
    erased: bool = False
    _hour: int = 0
    _active: set[bytes] = field(default_factory=set)

    def load(self) -> None:
        """Read where the shard stands, and what there is."""
        self.cursor = self.store.cursor(self.number)
        names = self.store.spaces(self.number)
        self.predictions = {name[1:] for name in names if name[:1] == PREDICTIONS}
        self.due = {name[1:] for name in self.store.rankings(self.number) if name[:1] == DUE}
        self.erased = ERASED in names
        self.fills = {key: FillRecord.decode(value) for key, value in self.store.scan(self.number, FILLS)}
        self._hour = 0
        self.loads = {key: FillRecord.decode(value) for key, value in self.store.scan(self.number, LOADS)}
        self._active.clear()

    @property
    def positions(self) -> tuple[int, int]:
        """Next offsets of events and commands; 0 in a log that was created again: everything in it is new."""
        events, commands = (self.cursor.offset(log) or 0 if self.cursor else 0 for log in self.logs)
        return events, commands

    def after(self, *, events: int | None = None, commands: int | None = None) -> Cursor:
        """The cursor that says that these offsets are next."""
        now = self.positions
        offsets = (now[0] if events is None else events, now[1] if commands is None else commands)
        return Cursor(tuple(zip(self.logs, offsets, strict=True)))

    def write(self, changes: list[Change | Rank], new: Cursor | None = None) -> None:
        """Write in one step; PositionConflictError when somebody else has written. Without `new` the cursor stays."""
        to = new or self.after()
        self.store.write(self.number, self.cursor, to, changes)
        self.cursor = to

    def note(self, changes: list[Change | Rank], key: bytes, record: FillRecord) -> None:
        """Change the record of a version together with the rest of a write."""
        changes.append(Change(FILLS, key, record.encode()))
        self.fills[key] = record

    def note_erased(self, entity: bytes) -> None:
        """Remember that there are erased entities; what this one does next makes it active anew."""
        self.erased = True
        self._active.discard(entity)

    def note_load(self, changes: list[Change | Rank], key: bytes, record: FillRecord) -> None:
        """Change the record of a bulk load together with the rest of a write."""
        changes.append(Change(LOADS, key, record.encode()))
        self.loads[key] = record

    def write_load(self, key: bytes, record: FillRecord) -> None:
        """Change the record of a bulk load, and nothing else."""
        changes: list[Change | Rank] = []
        self.note_load(changes, key, record)
        self.write(changes)

    def is_new_activity(self, entity: bytes, append_ms: int) -> bool:
        """Tell whether the entity has to be ranked as active in this hour.

        A batch may span hours, after a rest or in a replay, and its entities come in any order of theirs.
        """
        hour = append_ms // HOUR_MS
        if hour < self._hour:
            return True
        if hour > self._hour or len(self._active) >= _ACTIVE:
            self._hour = hour
            self._active.clear()
        if entity in self._active:
            return False
        self._active.add(entity)
        return True


Shards = Mapping[int, Shard]
