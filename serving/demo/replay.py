"""Replays purchases through the bus, as events of their time."""

import math
import time
from collections.abc import Callable, Iterable

from protos.topics import Topics
from serving.bus.port import Bus
from serving.demo.purchases import Purchases
from serving.demo.stage import Stage
from serving.errors import NearlineError
from serving.recipes.event import encode_event

_CHUNK = 5000
_LOOK_S = 0.05
_STUCK_S = 60.0

Advance = Callable[[int], None]


class Player:
    """Appends rows of the purchases as events.

    An event's id is its row, so that playing a row twice changes nothing.
    """

    def __init__(self, bus: Bus, topics: Topics, purchases: Purchases) -> None:
        self._bus = bus
        self._topic = topics.events.name
        self._purchases = purchases
        self._times = purchases.event_times()
        self.played = 0

    def play(self, rows: Iterable[int], advance: Advance = lambda _count: None) -> None:
        """Append the events of these rows, in this order."""
        chunk: list[tuple[bytes | None, bytes | None]] = []
        for row in rows:
            chunk.append(self._event(row))
            if len(chunk) == _CHUNK:
                self._append(chunk, advance)
                chunk = []
        if chunk:
            self._append(chunk, advance)

    def _append(self, chunk: list[tuple[bytes | None, bytes | None]], advance: Advance) -> None:
        self._bus.append_many(self._topic, chunk)
        self.played += len(chunk)
        advance(len(chunk))

    def _event(self, row: int) -> tuple[bytes, bytes]:
        purchases = self._purchases
        entity = purchases.entity_ids[purchases.entities[row]]
        item = purchases.item_ids[purchases.items[row]]
        ts = int(self._times[row])
        return encode_event(entity, {"item": item}, kind="purchase", ts_ms=ts, event_id=str(row))


def wait_until_computed(stage: Stage, events: int, shown: Advance = lambda _count: None) -> None:
    """Wait until the near-line workers have taken in so many events, and nothing is due; NearlineError when stuck."""
    before, moved_at = -1.0, time.monotonic()
    while (now := stage.counted("nearline_events_total")) < events:
        if now > before:
            shown(int(now - max(before, 0)))
            before, moved_at = now, time.monotonic()
        elif time.monotonic() - moved_at > _STUCK_S:
            raise NearlineError(f"near-line: expected {events} events to be computed, got stuck at {now:g}")
        time.sleep(_LOOK_S)
    shown(int(now - max(before, 0)))
    _wait_until_nothing_is_due(stage)


def _wait_until_nothing_is_due(stage: Stage) -> None:
    """What does not fit into the worker's steps is computed after them; until then the stored answers are older."""
    least, moved_at = math.inf, time.monotonic()
    while due := stage.counted("nearline_due"):
        if due < least:
            least, moved_at = due, time.monotonic()
        elif time.monotonic() - moved_at > _STUCK_S:
            raise NearlineError(f"near-line: expected nothing to be due, got stuck at {due:g} predictions")
        time.sleep(_LOOK_S)
