"""The `status` topic, folded: who is there, and what state each model instance is in. Pure."""

from google.protobuf.message import DecodeError

from protos.nearline.v1 import model_status_pb2, status_pb2
from protos.topics import operators_key

LIVE_MS = 15_000
"""A worker is live when it was seen within that time, by the bus's clock."""


_PROOF = frozenset({status_pb2.READY, status_pb2.DRAINING, status_pb2.UNLOADED})


def has_been_ready(status: status_pb2.InstanceStatus) -> bool:
    """Tell whether the bundle is known to have been READY there; an earlier release told it by the state alone."""
    return bool(status.ready_at_ms) or status.state in _PROOF


class StatusView:
    """Fed with records in order. An undecodable one is counted, and changes nothing."""

    def __init__(self) -> None:
        self._presences: dict[bytes, status_pb2.Presence] = {}
        self._instances: dict[bytes, status_pb2.InstanceStatus] = {}
        self._faults: dict[bytes, status_pb2.LedgerFault] = {}
        self._operators: dict[bytes, status_pb2.Operators] = {}
        self._appended_ms: dict[bytes, int] = {}
        self.newest_ms = 0
        self.undecodable = 0

    def apply(self, key: bytes | None, timestamp_ms: int, value: bytes | None) -> None:
        """Take one record in."""
        self.newest_ms = max(self.newest_ms, timestamp_ms)
        key = key or b""
        if value is None:
            for kept in (self._presences, self._instances, self._faults, self._operators, self._appended_ms):
                kept.pop(key, None)
            return
        try:
            record = status_pb2.StatusRecord.FromString(value)
        except DecodeError:
            self.undecodable += 1
            return
        self._appended_ms[key] = timestamp_ms
        match record.WhichOneof("kind"):
            case "presence":
                self._presences[key] = record.presence
            case "instance":
                self._instances[key] = record.instance
            case "fault":
                self._faults[key] = record.fault
            case "operators":
                self._operators[key] = record.operators
            case _:
                self.undecodable += 1

    def presences(self) -> list[status_pb2.Presence]:
        """Every worker that was ever seen and not taken back."""
        return list(self._presences.values())

    def appended_ms(self, key: bytes) -> int:
        """When the last record of a key was appended, by the bus's clock; 0 = there is none."""
        return self._appended_ms.get(key, 0)

    def seen_ms(self, presence: status_pb2.Presence) -> int:
        """When that worker was seen last, by the bus's clock; 0 = never."""
        seen = (self._appended_ms[key] for key, p in self._presences.items() if p.incarnation == presence.incarnation)
        return max(seen, default=0)

    def live(self, now_ms: int) -> list[status_pb2.Presence]:
        """The workers that were seen within LIVE_MS before `now_ms` (by the bus's clock)."""
        return [presence for key, presence in self._presences.items() if now_ms - self._appended_ms[key] <= LIVE_MS]

    def statuses(self) -> list[status_pb2.InstanceStatus]:
        """The last word on every model instance, of workers long gone, too."""
        return list(self._instances.values())

    def current(self) -> list[status_pb2.InstanceStatus]:
        """The model instances of processes that are still there, as far as is known."""
        incarnations = {presence.incarnation for presence in self.presences()}
        return [status for status in self._instances.values() if status.incarnation in incarnations]

    def faults(self) -> list[status_pb2.LedgerFault]:
        """Ledger records that workers could not use."""
        return list(self._faults.values())

    def operators(self, digest: str) -> status_pb2.Operators | None:
        """What the runtimes can run that tell this digest of it; None = nobody has said."""
        return self._operators.get(operators_key(digest))

    def ready_digests(self, model: str) -> set[str]:
        """The bundles of a model that some instance is known to have had READY."""
        return {s.digest for s in self._instances.values() if s.model == model and has_been_ready(s)}

    def response(self) -> model_status_pb2.ModelStatusResponse:
        """All of it, as ModelStatus answers."""
        return model_status_pb2.ModelStatusResponse(
            instances=sorted(self.current(), key=lambda s: (s.model, s.version, s.node, s.worker)),
            workers=sorted(self.presences(), key=lambda p: (p.node, p.worker)),
            faults=sorted(self.faults(), key=lambda f: (f.offset, f.node, f.worker)),
        )
