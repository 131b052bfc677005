"""Waits for a backfill, as `nearline status` shows it."""

import time

from protos.topics import Topics
from serving.bus.port import Bus
from serving.bus.read_status import read_status
from serving.errors import NearlineError

_LOOK_S = 0.02


def wait_until_filled(bus: Bus, topics: Topics, model: str, version: int, wait_s: float) -> int:
    """Wait until all active entities have a prediction by a version; return how many they are. NearlineError."""
    deadline = time.monotonic() + wait_s
    while True:
        statuses = read_status(bus, topics.status.name).current()
        mine = [status for status in statuses if (status.model, status.version) == (model, version)]
        total, left = sum(s.backfill_total for s in mine), sum(s.backfill_left for s in mine)
        if total and not left:
            return total
        if time.monotonic() > deadline:
            raise NearlineError(f"backfill: expected {total} predictions of version {version}, lack {left}")
        time.sleep(_LOOK_S)
