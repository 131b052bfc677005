"""Tells the world about this worker: presence, states of its model instances, ledger records it could not use.

While the bus is away the newest record of each key waits; what an older one said no longer matters. Loading never
waits for reporting.
"""

import math
import threading
import time
from collections.abc import Callable

from protos.judging import Verdict
from protos.nearline.v1 import status_pb2
from protos.topics import Topics, fault_key, instance_key, operators_key, presence_key
from serving.bus.port import Bus
from serving.errors import NearlineError
from serving.models.instance import Identity
from serving.models.lifecycle import WORKING
from serving.telemetry.trouble import Trouble

HEARTBEAT_S = 5.0
_RETRY_S = 1.0
_MOST_WAITING = 10_000
_PASSING = frozenset(state.value for state in WORKING)
PASSING_S = 0.05
"""A state on the way to another one may wait so long for that one: most last a few milliseconds, and each record costs
a synchronised write here and the attention of every worker of the fleet, while they have requests to answer."""


class StatusReporter:
    """One thread that appends to `status`. The methods that report only queue, and may be called from any thread."""

    def __init__(
        self,
        connect: Callable[[], Bus],
        topics: Topics,
        identity: Identity,
        presence: Callable[[], status_pb2.Presence],
        *,
        heartbeat_s: float = HEARTBEAT_S,
        passing_s: float = PASSING_S,
    ) -> None:
        self._connect = connect
        self._topics = topics
        self._identity = identity
        self._presence = presence
        self._heartbeat_s = heartbeat_s
        self._passing_s = passing_s
        self._waiting: dict[bytes, bytes | None] = {}
        self._send_at = math.inf
        self._changed = threading.Condition()
        self._stopping = False
        self._trouble = Trouble("status.waiting", over="status.sent")
        self._thread = threading.Thread(target=self._run, name="status", daemon=True)

    def start(self) -> None:
        """Start reporting, presence first."""
        self._thread.start()

    def stop(self) -> None:
        """Send what waits, take the presence back, and end; gives up after a few seconds without a bus."""
        with self._changed:
            self._waiting[self._presence_key] = None
            self._stopping = True
            self._changed.notify()
        self._thread.join(timeout=5)

    def instance(self, status: status_pb2.InstanceStatus) -> None:
        """Report a state."""
        key = instance_key(status.node, status.worker, status.model, status.version)
        self._put(
            key,
            status_pb2.StatusRecord(instance=status),
            patience_s=self._passing_s if status.state in _PASSING else 0.0,
        )

    def operators(self, digest: str, said: status_pb2.Operators) -> None:
        """Report what the runtime can run; presence names it by its digest. Empty: it does not tell."""
        if digest:
            self._put(operators_key(digest), status_pb2.StatusRecord(operators=said))

    def fault(self, offset: int, verdict: Verdict) -> None:
        """Report a ledger record that cannot be used."""
        fault = status_pb2.LedgerFault(
            node=self._identity.node,
            worker=self._identity.worker,
            incarnation=self._identity.incarnation,
            offset=offset,
            model=verdict.model,
            version=verdict.version,
            error=status_pb2.InstanceError(kind=verdict.kind, message=verdict.message),
        )
        key = fault_key(self._identity.node, self._identity.worker, offset)
        self._put(key, status_pb2.StatusRecord(fault=fault))

    def sound(self, offset: int) -> None:
        """Take back that a ledger record cannot be used."""
        self._put(fault_key(self._identity.node, self._identity.worker, offset), None)

    @property
    def _presence_key(self) -> bytes:
        return presence_key(self._identity.node, self._identity.worker)

    def _put(self, key: bytes, record: status_pb2.StatusRecord | None, patience_s: float = 0.0) -> None:
        with self._changed:
            self._waiting.pop(key, None)  # so that it goes to the end: order of keys is order of news
            self._waiting[key] = record.SerializeToString() if record else None
            if len(self._waiting) > _MOST_WAITING:
                self._waiting.pop(next(iter(self._waiting)))
            send_at = time.monotonic() + patience_s
            if send_at < self._send_at:
                self._send_at = send_at
                self._changed.notify()

    def _run(self) -> None:
        bus = self._connect()
        next_beat = 0.0
        try:
            while True:
                with self._changed:
                    while not self._stopping and (pause_s := min(self._send_at, next_beat) - time.monotonic()) > 0:
                        self._changed.wait(pause_s)
                    stopping = self._stopping
                    if not stopping and time.monotonic() >= next_beat:
                        beat = status_pb2.StatusRecord(presence=self._presence())
                        self._waiting = {self._presence_key: beat.SerializeToString(), **self._waiting}
                        next_beat = time.monotonic() + self._heartbeat_s
                    news, self._waiting, self._send_at = self._waiting, {}, math.inf
                if news and not self._send(bus, news):
                    with self._changed:
                        self._waiting = {**news, **self._waiting}
                        self._send_at = 0.0
                        if not stopping:
                            self._changed.wait(_RETRY_S)
                if stopping:
                    return
        finally:
            bus.close()

    def _send(self, bus: Bus, news: dict[bytes, bytes | None]) -> bool:
        try:
            bus.append_many(self._topics.status.name, list(news.items()))
        except NearlineError as error:
            self._trouble.met(str(error), records=len(news))
            return False
        self._trouble.ended(records=len(news))
        return True
