"""The `status` topic, read to its end or followed, and which workers on it are live.

Who is live is decided by the bus's clock alone: this machine's may be wrong by hours. Where the bus cannot be asked
for its time (Kafka), the newest record stands for it, since every live worker appends one each few seconds. Only when
that record is far from this machine's time is it open whether all workers are gone or this clock is wrong; then the
next record tells, or that none comes.
"""

import time
from dataclasses import dataclass

from protos.nearline.v1 import status_pb2
from protos.status_view import LIVE_MS, StatusView
from serving.bus.port import Bus

_POLL_S = 0.2


def clock_ms() -> int:
    """Return the time by this machine's clock."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Fleet:
    """What is on the topic, and the workers that are live, by node and worker."""

    view: StatusView
    live: tuple[status_pb2.Presence, ...]


class StatusReader:
    """Follows the topic from its start. `now_ms`: the bus's time, where the caller has just been told."""

    def __init__(self, bus: Bus, topic: str, now_ms: int | None = None) -> None:
        self.view = StatusView()
        self._bus = bus
        self._told = now_ms is not None
        self._end = bus.end_offsets(topic)[0]
        self._reader = bus.reader(topic)
        self._since = time.monotonic()
        self._since_ms = now_ms or 0

    @property
    def is_whole(self) -> bool:
        """Everything is known that stood there when following began."""
        return self._reader.position(0) >= self._end

    def poll(self) -> None:
        """Take in what there is, waiting a moment for it."""
        for batch in self._reader.poll(_POLL_S):
            for record in batch.records:
                self.view.apply(record.key, record.timestamp_ms, record.value)
                if record.offset >= self._end:  # appended since then
                    self._told, self._since, self._since_ms = True, time.monotonic(), record.timestamp_ms

    def now_ms(self) -> int:
        """Return the bus's time, or the time that it has passed for sure."""
        asked = None if self._told else self._bus.now_ms()
        if asked is not None:
            return asked
        since_ms = self._since_ms if self._told else self.view.newest_ms
        return since_ms + int((time.monotonic() - self._since) * 1000)

    def is_sure(self) -> bool:
        """Tell whether `live` is right; before the first new record it may be that workers are gone for long."""
        newest_ms = self.view.newest_ms
        return (
            self._told
            or not self.view.presences()
            or self._bus.now_ms() is not None
            or abs(clock_ms() - newest_ms) <= LIVE_MS
            or self.now_ms() - newest_ms > LIVE_MS
        )

    def live(self) -> tuple[status_pb2.Presence, ...]:
        """The live workers, by node and worker."""
        return tuple(sorted(self.view.live(self.now_ms()), key=lambda worker: (worker.node, worker.worker)))

    def close(self) -> None:
        """Stop following."""
        self._reader.close()


def read_status(bus: Bus, topic: str) -> StatusView:
    """Fold everything up to the end as it is now."""
    reader = StatusReader(bus, topic)
    try:
        while not reader.is_whole:
            reader.poll()
        return reader.view
    finally:
        reader.close()


def read_fleet(bus: Bus, topic: str) -> Fleet:
    """The same, and who is live; takes up to LIVE_MS where this machine's clock and the topic disagree."""
    reader = StatusReader(bus, topic)
    try:
        while not (reader.is_whole and reader.is_sure()):
            reader.poll()
        return Fleet(reader.view, reader.live())
    finally:
        reader.close()
