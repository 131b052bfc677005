"""Follows the status topic until an announcement has ended its way in every live worker."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from protos.nearline.v1 import status_pb2
from protos.status_view import StatusView
from protos.topics import Topics, fault_key, instance_key
from publisher.announce import Announcement
from serving.bus.port import Bus

_ENDED = {status_pb2.READY, status_pb2.FAILED, status_pb2.REJECTED, status_pb2.SUPERSEDED}
_BAD = {status_pb2.FAILED, status_pb2.REJECTED}
_POLL_S = 0.2


Rows = tuple[tuple[status_pb2.Presence, status_pb2.InstanceStatus | None], ...]


@dataclass(frozen=True, slots=True)
class Progress:
    """The live workers, each with what it last said of the version (None = nothing yet).

    `seconds`: once all have ended, from appending the announcement to appending the last of their states, by the
    bus's clock; until then, for how long has been waited.
    """

    rows: Rows
    seconds: float = field(default=0.0, compare=False)

    @property
    def ended(self) -> bool:
        """Every live worker's instance has ended its way."""
        return all(status and status.state in _ENDED for _, status in self.rows)

    @property
    def failed(self) -> list[status_pb2.InstanceStatus]:
        """The instances that failed or were rejected."""
        return [status for _, status in self.rows if status and status.state in _BAD]


def wait_until_ended(
    bus: Bus,
    topics: Topics,
    announced: Announcement,
    timeout_s: float,
    shown: Callable[[Progress], None] = lambda _progress: None,
) -> Progress:
    """Return once every live worker has ended, none is live, or the time is over; `shown` sees every change.

    Time is the bus's: its clock when the announcement was appended, and what has passed since.
    """
    view = StatusView()
    appended_ms: dict[bytes | None, int] = {}
    topic = topics.status.name
    end = bus.end_offsets(topic)[0]
    reader = bus.reader(topic)
    began = time.monotonic()
    last: Progress | None = None
    try:
        while True:
            for batch in reader.poll(_POLL_S):
                for record in batch.records:
                    view.apply(record.key, record.timestamp_ms, record.value)
                    appended_ms[record.key] = record.timestamp_ms
            if reader.position(0) < end:
                continue
            elapsed = time.monotonic() - began
            rows = _rows(view, announced, announced.timestamp_ms + int(elapsed * 1000))
            progress = Progress(rows, elapsed)
            if rows and progress.ended:
                progress = Progress(rows, _took(rows, announced, appended_ms))
            if progress != last:
                shown(progress)
                last = progress
            if progress.ended or elapsed > timeout_s:
                return progress
    finally:
        reader.close()


def _took(rows: Rows, announced: Announcement, appended_ms: Mapping[bytes | None, int]) -> float:
    """Seconds to the last end; 0 where all had ended before, as when the same bundle is announced once more."""
    keys = [key for _, s in rows if s for key in _keys(s)]
    return max(0, max(appended_ms.get(key, 0) for key in keys) - announced.timestamp_ms) / 1000


def _keys(status: status_pb2.InstanceStatus) -> tuple[bytes, bytes]:
    """Where it, or the fault that it stands for, was told."""
    return (
        instance_key(status.node, status.worker, status.model, status.version),
        fault_key(status.node, status.worker, status.ledger_offset),
    )


def _refused(fault: status_pb2.LedgerFault, announced: Announcement) -> status_pb2.InstanceStatus:
    """What comes to a record that a worker does not accept: no instance of it will ever be."""
    return status_pb2.InstanceStatus(
        model=announced.model,
        version=announced.version,
        digest=announced.digest,
        node=fault.node,
        worker=fault.worker,
        incarnation=fault.incarnation,
        state=status_pb2.REJECTED,
        error=fault.error,
        ledger_offset=fault.offset,
    )


def _rows(view: StatusView, announced: Announcement, now_ms: int) -> Rows:
    said = {
        fault.incarnation + fault.worker: _refused(fault, announced)
        for fault in view.faults()
        if fault.offset == announced.offset and fault.model == announced.model
    }
    said |= {
        status.incarnation + status.worker: status
        for status in view.statuses()
        if (status.model, status.version, status.digest) == (announced.model, announced.version, announced.digest)
    }
    live = sorted(view.live(now_ms), key=lambda presence: (presence.node, presence.worker))
    return tuple((presence, said.get(presence.incarnation + presence.worker)) for presence in live)
