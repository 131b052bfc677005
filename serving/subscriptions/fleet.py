"""Follows the `status` topic, so that any worker can answer for all of them."""

import threading
from collections.abc import Callable
from typing import TypeVar

import structlog

from protos.status_view import StatusView
from protos.topics import Topics
from serving.bus.port import Bus
from serving.errors import NearlineError

log = structlog.get_logger()

T = TypeVar("T")

_POLL_S = 0.2
_RETRY_S = 1.0


class FleetFollower:
    """One thread that owns the view. `changed` is called on that thread after each batch of news."""

    def __init__(self, connect: Callable[[], Bus], topics: Topics, changed: Callable[[], None]) -> None:
        self._connect = connect
        self._topic = topics.status.name
        self._changed = changed
        self._lock = threading.Lock()
        self._view = StatusView()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fleet", daemon=True)

    def start(self) -> None:
        """Start following."""
        self._thread.start()

    def stop(self) -> None:
        """Stop following."""
        self._stopping.set()
        self._thread.join(timeout=10)

    def read(self, look: Callable[[StatusView], T]) -> T:
        """Look at the view while it does not change."""
        with self._lock:
            return look(self._view)

    def _run(self) -> None:
        while not self._stopping.is_set():
            bus = self._connect()
            try:
                self._follow(bus)
            except NearlineError as error:
                log.debug("fleet.away", error=str(error))
                self._stopping.wait(_RETRY_S)
            except Exception:
                # What others say must never be able to end this thread.
                log.exception("fleet.defect")
                self._stopping.wait(_RETRY_S)
            finally:
                bus.close()

    def _follow(self, bus: Bus) -> None:
        reader = bus.reader(self._topic)
        fresh = StatusView()  # a topic read from its start needs a view without what was tombstoned meanwhile
        end = bus.end_offsets(self._topic)[0]
        caught_up = False
        try:
            while not self._stopping.is_set():
                batches = reader.poll(_POLL_S)
                with self._lock:
                    for batch in batches:
                        for record in batch.records:
                            fresh.apply(record.key, record.timestamp_ms, record.value)
                    if not caught_up and reader.position(0) >= end:
                        caught_up, self._view = True, fresh
                if batches and caught_up:
                    self._changed()
        finally:
            reader.close()
