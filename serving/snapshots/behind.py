"""Whether a node was away for so long that its store can never read what the bus has dropped since."""

import time
from collections.abc import Mapping

from serving.bus.connect import connect_bus
from serving.bus.port import Bus
from serving.settings import Settings
from serving.snapshots.logs import Logs
from serving.snapshots.manifest import Log
from serving.store.port import Cursor

_POLL_S = 0.2
_PATIENCE_S = 5.0


def missed(settings: Settings, logs: Logs, cursors: Mapping[int, Cursor]) -> list[str]:
    """Return the places in the logs, as topic/shard, where the first record kept is after the store's position.

    Gaps that a log has by itself (transactions) look the same: ask of a store that stood still for very long only.
    """
    bus = connect_bus(settings)
    try:
        found = []
        for log, ends in ((logs.events, logs.ends[0]), (logs.commands, logs.ends[1])):
            at = {shard: cursor.offset(log.identity) for shard, cursor in cursors.items()}
            behind = {
                shard: offset for shard, offset in at.items() if offset is not None and offset < ends.get(shard, 0)
            }
            found += [f"{log.topic}/{shard}" for shard in _gaps(bus, log, behind)]
        return found
    finally:
        bus.close()


def _gaps(bus: Bus, log: Log, positions: dict[int, int]) -> list[int]:
    """Look at the first record of each partition; where none comes, all of them are gone."""
    waiting, gaps = dict(positions), []
    if not waiting:
        return []
    reader = bus.reader(log.topic, positions, whole=False)
    deadline = time.monotonic() + _PATIENCE_S
    try:
        while waiting and time.monotonic() < deadline:
            for batch in reader.poll(_POLL_S):
                expected = waiting.pop(batch.partition, None)
                if expected is not None and batch.records[0].offset > expected:
                    gaps.append(batch.partition)
            reader.assign(waiting)
    finally:
        reader.close()
    return sorted([*gaps, *waiting])
