"""Follows the status topic until an announcement has ended its way in every live worker."""

from collections.abc import Callable
from dataclasses import replace

from protos.topics import Topics
from publisher.announce import Announcement
from publisher.progress import Name, Progress, follow
from serving.bus.port import Bus

Shown = Callable[[Progress], None]


def wait_until_ended(
    bus: Bus,
    topics: Topics,
    announced: Announcement,
    timeout_s: float,
    shown: Shown = lambda _progress: None,
) -> Progress:
    """Return once every live worker has ended, none is live, or the time is over; `shown` sees every change.

    The `seconds` of the last one, once all have ended, are those from appending the announcement to appending the last
    of their states, by the bus's clock; 0 when that was before, as when the same bundle is announced once more.
    """
    name = Name(announced.model, announced.version, announced.digest, announced.offset)
    last: Progress | None = None
    for found in follow(bus, topics.status.name, name, timeout_s, announced.timestamp_ms):
        took = None if found.ended_ms is None else max(0, found.ended_ms - announced.timestamp_ms) / 1000
        progress = found if took is None else replace(found, seconds=took)
        if progress != last:
            shown(progress)
        last = progress
        if progress.ended:
            break
    assert last is not None  # noqa: S101 - `follow` has a last look
    return last
