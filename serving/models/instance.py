"""What the deployer knows of one model instance, and how it is told to the world."""

import time
from dataclasses import dataclass

import structlog

from protos.nearline.v1 import status_pb2
from protos.records import Announced, ModelRecord
from serving.errors import ModelError
from serving.models.lifecycle import State, check_transition
from serving.models.loaded import LoadedModel

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Identity:
    """Which process this is. `incarnation` is new at each start."""

    node: str
    worker: str
    role: "status_pb2.Role.ValueType"
    incarnation: str


@dataclass(slots=True)
class Instance:
    """One version in this process. Owned by the deployer's thread.

    `generation` counts decisions: news from a load that began under another one is stale. `retry_at` is by the
    monotonic clock. `tried`: the last load that ended has failed. `held`: it is loaded ahead, without traffic.
    `broken`: why it must not serve any more although it is READY; `distrusted`: not even until another one can,
    as the keys of the epoch `judged_by` say.
    `alone`: it is being loaded, and what it replaces is unloaded first. `room_given`: the retrial under which that was
    last done in vain, or is being done; -1 = never.
    """

    model: str
    announced: Announced
    state: State = State.ANNOUNCED
    since_ms: int = 0
    generation: int = 0
    attempts: int = 0
    retrial: int = 0
    tried: bool = False
    held: bool = False
    alone: bool = False
    room_given: int = -1
    broken: ModelError | None = None
    distrusted: bool = False
    judged_by: int = 0
    retry_at: float | None = None
    error: ModelError | None = None
    reason: str = ""
    loaded: LoadedModel | None = None
    backfill: tuple[int, int] = (0, 0)

    def enter(self, state: State, *, error: ModelError | None = None, reason: str = "") -> None:
        """Change state, as the table allows."""
        check_transition(self.state, state)
        self.state, self.error, self.reason = state, error, reason
        self.since_ms = time.time_ns() // 1_000_000

    def unsaid(self, record: ModelRecord) -> bool:
        """Tell whether nothing that counts announces this bundle under this number."""
        known = record.versions.get(self.announced.version)
        return known is None or known.digest != self.announced.digest

    def status(self, who: Identity) -> status_pb2.InstanceStatus:
        """As it is published."""
        status = status_pb2.InstanceStatus(
            model=self.model,
            version=self.announced.version,
            digest=self.announced.digest,
            node=who.node,
            worker=who.worker,
            role=who.role,
            incarnation=who.incarnation,
            state=self.state.value,
            since_ms=self.since_ms,
            attempts=self.attempts,
            reason=self.reason,
            ledger_offset=self.announced.offset,
            backfill_total=self.backfill[0],
            backfill_left=self.backfill[1],
            held=self.held and self.state is State.READY,
        )
        if (error := self.error or self.broken) is not None:
            status.error.kind = error.kind
            status.error.message = str(error)
            status.error.detail = error.detail[-8192:]
        if self.retry_at is not None:
            status.retry_at_ms = time.time_ns() // 1_000_000 + int((self.retry_at - time.monotonic()) * 1000)
        return status


def log_state(instance: Instance) -> None:
    """Write the state that an instance is in as one line of the log."""
    said = {"model": instance.model, "version": instance.announced.version, "state": instance.state.name}
    if instance.error is not None:
        kind = status_pb2.ErrorKind.Name(instance.error.kind)
        log.warning("instance.state", **said, kind=kind, error=str(instance.error))
    elif instance.reason:
        log.info("instance.state", **said, reason=instance.reason)
    else:
        log.info("instance.state", **said)
