"""The topics that processes agree on: their names, how each is kept, and the keys of their records."""

from dataclasses import dataclass
from enum import Enum


class Kept(Enum):
    """What becomes of old records."""

    FOR_EVER = "for ever"
    COMPACTED = "compacted"
    BY_TIME = "by time"


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic as it has to be created; `retention_s` counts only for topics kept by time.

    `like`: another topic that, where it exists, decides the number of partitions instead.
    """

    name: str
    partitions: int
    kept: Kept
    retention_s: int = 0
    like: str = ""


_WEEK_S = 7 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Topics:
    """Every topic of an installation. `prefix` keeps installations on one broker apart."""

    prefix: str = "nearline."
    event_partitions: int = 8
    event_retention_s: int = _WEEK_S
    events_topic: str = ""
    """An existing topic to read as `events`; empty = ours."""

    @property
    def models(self) -> TopicSpec:
        """The ledger. Never compacted: compaction would erase what decides who was first."""
        return TopicSpec(f"{self.prefix}models", 1, Kept.FOR_EVER)

    @property
    def status(self) -> TopicSpec:
        """Presence of workers and the state of model instances."""
        return TopicSpec(f"{self.prefix}status", 1, Kept.COMPACTED)

    @property
    def events(self) -> TopicSpec:
        """What entities did. A partition of it is a shard."""
        name = self.events_topic or f"{self.prefix}events"
        return TopicSpec(name, self.event_partitions, Kept.BY_TIME, self.event_retention_s)

    @property
    def commands(self) -> TopicSpec:
        """What is asked of a shard's owner, so partitioned like `events`.

        Kept at least as long: where events from before an `erase` can be replayed, the erase has to be, too.
        """
        name, events = f"{self.prefix}commands", self.events
        return TopicSpec(name, events.partitions, Kept.BY_TIME, max(events.retention_s, _WEEK_S), like=events.name)

    @property
    def dead_letters(self) -> TopicSpec:
        """Records that could not be used, with the reason."""
        return TopicSpec(f"{self.prefix}dead-letters", 1, Kept.BY_TIME, 30 * 24 * 3600)

    @property
    def groups(self) -> str:
        """What the names of near-line workers' consumer groups begin with."""
        return f"{self.prefix}nearline"

    def without_ledger(self) -> tuple[TopicSpec, ...]:
        """What any process may create.

        The ledger is created by publishers, and by nodes that never saw one: whoever lost it should notice.
        """
        return (self.status, self.events, self.commands, self.dead_letters)

    def all(self) -> tuple[TopicSpec, ...]:
        """In no particular order."""
        return (self.models, *self.without_ledger())


def presence_key(node: str, worker: str) -> bytes:
    """Key of a worker's heartbeat on `status`."""
    return f"{node}/{worker}".encode()


def instance_key(node: str, worker: str, model: str, version: int) -> bytes:
    """Key of a model instance's state on `status`."""
    return f"{node}/{worker}/{model}/{version}".encode()


def fault_key(node: str, worker: str, offset: int) -> bytes:
    """Key of a ledger record that a worker could not use. `@` cannot begin a model's name."""
    return f"{node}/{worker}/@ledger/{offset}".encode()


def operators_key(digest: str) -> bytes:
    """Key of what a runtime can run, on `status`. `@` cannot begin a node's name."""
    return f"@operators/{digest}".encode()


def clock_key(node: str) -> bytes:
    """Key of a tombstone on `status` that takes nothing back: appending it tells the bus's time."""
    return f"{node}/@clock".encode()
