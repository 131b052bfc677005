"""Whether a snapshot may become a node's store. Pure."""

import time

from protos.topics import Topics
from serving.snapshots.logs import Logs
from serving.snapshots.manifest import Log, Manifest


def now_ms() -> int:
    """The machine's clock: snapshots of several nodes are compared by it, in hours and days."""
    return time.time_ns() // 1_000_000


def reason_against(manifest: Manifest, logs: Logs, topics: Topics, at_ms: int) -> str:
    """Say why it must not be used; empty when it may.

    One that is older than commands are kept may hold an entity whose erasure can no longer be read again.
    """
    found = ((manifest.events, logs.events, logs.ends[0]), (manifest.commands, logs.commands, logs.ends[1]))
    for then, now, ends in found:
        if reason := _reason_of_log(manifest, then, now, ends):
            return reason
    kept_s = topics.commands.retention_s
    if at_ms - manifest.created_ms > kept_s * 1000:
        return f"it is older than the {kept_s} s that {topics.commands.name} keeps: erasures since may be lost"
    return ""


def _reason_of_log(manifest: Manifest, then: Log, now: Log, ends: dict[int, int]) -> str:
    if not now.identity:
        return f"there is no topic {now.topic}"
    if then.topic != now.topic:
        return f"it was taken of {then.topic}, not of {now.topic}"
    if then.identity != now.identity:
        return f"{now.topic} was created again since: expected {now.identity}, got {then.identity}"
    if then.partitions != now.partitions:
        return f"{now.topic} has {now.partitions} partitions, and had {then.partitions}: entities are elsewhere now"
    for shard, offset in sorted(manifest.positions(now).items()):
        if offset > ends.get(shard, 0):
            return f"partition {shard} of {now.topic} ends at {ends.get(shard, 0)}, before its position {offset}"
    return ""


def may_lack_events(manifest: Manifest, topics: Topics, at_ms: int) -> bool:
    """Tell whether events after the snapshot may be gone already. What is left is still more than without it."""
    return at_ms - manifest.created_ms > topics.events.retention_s * 1000
