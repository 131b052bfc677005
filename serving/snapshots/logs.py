"""The logs that a store's cursors point into, as the bus has them now."""

from dataclasses import dataclass

from protos.topics import Topics
from serving.bus.connect import connect_bus
from serving.bus.port import Bus
from serving.errors import NotFoundError
from serving.settings import Settings
from serving.snapshots.manifest import Log


@dataclass(frozen=True, slots=True)
class Logs:
    """`ends`: the next offset by partition, of events and of commands."""

    events: Log
    commands: Log
    ends: tuple[dict[int, int], dict[int, int]]


def read_logs(settings: Settings) -> Logs:
    """Ask on a connection of its own; BusUnavailableError."""
    bus = connect_bus(settings)
    try:
        return _read(bus, settings.topics)
    finally:
        bus.close()


def _read(bus: Bus, topics: Topics) -> Logs:
    (events, events_end), (commands, commands_end) = (_log(bus, spec.name) for spec in (topics.events, topics.commands))
    return Logs(events, commands, (events_end, commands_end))


def _log(bus: Bus, topic: str) -> tuple[Log, dict[int, int]]:
    """Nobody may create a topic by looking: one that is missing is of no incarnation."""
    try:
        return Log(topic=topic, identity=bus.identity(topic), partitions=bus.partitions(topic)), bus.end_offsets(topic)
    except NotFoundError:
        return Log(topic=topic, identity="", partitions=0), {}
