"""How far one version is: what the live workers say of it on the status topic, look by look."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from protos.nearline.v1 import status_pb2
from protos.status_view import StatusView
from protos.topics import fault_key, instance_key
from serving.bus.port import Bus
from serving.bus.read_status import StatusReader

_ENDED = {status_pb2.READY, status_pb2.FAILED, status_pb2.REJECTED, status_pb2.SUPERSEDED}
_BAD = {status_pb2.FAILED, status_pb2.REJECTED}


class Name(NamedTuple):
    """An announcement: which version, and where it stands in the ledger."""

    model: str
    version: int
    digest: str
    offset: int


Rows = tuple[tuple[status_pb2.Presence, status_pb2.InstanceStatus | None], ...]


@dataclass(frozen=True, slots=True)
class Progress:
    """The live workers, each with what it last said of the version (None = nothing yet).

    `seconds`: for how long has been waited. `ended_ms`: when the last of them ended its way, by the bus's clock; None
    until all have. `sure`: these are the workers that are live; until then, some may be gone for long.
    """

    rows: Rows
    seconds: float = field(default=0.0, compare=False)
    ended_ms: int | None = None
    sure: bool = True

    @property
    def ended(self) -> bool:
        """Every live worker's instance has ended its way."""
        return all(status and status.state in _ENDED for _, status in self.rows)

    @property
    def ready(self) -> list[status_pb2.InstanceStatus]:
        """The instances that are loaded and warm, and serve well."""
        return [s for _, s in self.rows if s and s.state == status_pb2.READY and not s.HasField("error")]

    @property
    def failed(self) -> list[status_pb2.InstanceStatus]:
        """The instances that failed, were rejected, or go wrong while nothing can take their place."""
        return [
            s for _, s in self.rows if s and (s.state in _BAD or (s.state == status_pb2.READY and s.HasField("error")))
        ]


def follow(bus: Bus, topic: str, name: Name, timeout_s: float, now_ms: int | None = None) -> Iterator[Progress]:
    """Yield how far it is, some times a second, until the time is over; a last time then.

    `now_ms`: the bus's time, where it is known. Where it is not, nothing may come for a while but the last look.
    """
    reader = StatusReader(bus, topic, now_ms)
    began = time.monotonic()
    try:
        while True:
            if reader.is_whole:
                elapsed = time.monotonic() - began
                sure = reader.is_sure()
                if sure or elapsed > timeout_s:
                    yield _looked(reader, name, elapsed, sure=sure)
                if elapsed > timeout_s:
                    return
            reader.poll()
    finally:
        reader.close()


def _looked(reader: StatusReader, name: Name, elapsed: float, *, sure: bool) -> Progress:
    rows = _rows(reader.view, name, reader.live())
    progress = Progress(rows, elapsed, sure=sure)
    return replace(progress, ended_ms=_ended_ms(reader.view, rows)) if rows and progress.ended else progress


def _ended_ms(view: StatusView, rows: Rows) -> int:
    return max(view.appended_ms(key) for _, status in rows if status for key in _keys(status))


def _keys(status: status_pb2.InstanceStatus) -> tuple[bytes, bytes]:
    """Where it, or the fault that it stands for, was told."""
    return (
        instance_key(status.node, status.worker, status.model, status.version),
        fault_key(status.node, status.worker, status.ledger_offset),
    )


def _rows(view: StatusView, name: Name, live: Sequence[status_pb2.Presence]) -> Rows:
    said = {
        fault.incarnation + fault.worker: _refused(fault, name)
        for fault in view.faults()
        if fault.offset == name.offset and fault.model == name.model
    }
    said |= {
        status.incarnation + status.worker: status
        for status in view.statuses()
        if (status.model, status.version, status.digest) == name[:3]
    }
    return tuple((presence, said.get(presence.incarnation + presence.worker)) for presence in live)


def _refused(fault: status_pb2.LedgerFault, name: Name) -> status_pb2.InstanceStatus:
    """What comes to a record that a worker does not accept: no instance of it will ever be."""
    return status_pb2.InstanceStatus(
        model=name.model,
        version=name.version,
        digest=name.digest,
        node=fault.node,
        worker=fault.worker,
        incarnation=fault.incarnation,
        state=status_pb2.REJECTED,
        error=fault.error,
        ledger_offset=fault.offset,
    )
