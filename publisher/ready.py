"""Waits until so many instances of a version are READY that it may get traffic, or until they cannot become so."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import Self

from protos.nearline.v1 import status_pb2
from protos.records import ModelRecord
from protos.topics import Topics
from protos.traffic import prepared, shares_for
from publisher.ledger import Ledger, known_model
from publisher.progress import Name, Progress, Rows, follow
from publisher.rollouts import announced_version
from serving.bus.port import Bus
from serving.errors import InvalidRequestError

_WORKING = {
    status_pb2.ANNOUNCED,
    status_pb2.FETCHING,
    status_pb2.VERIFYING,
    status_pb2.LOADING,
    status_pb2.WARMING,
}


@dataclass(frozen=True, slots=True)
class Quorum:
    """How many of the live instances have to be READY: a part of a hundred, exactly as it was written."""

    percent: Fraction

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `all` or a percentage; InvalidRequestError."""
        number = "100" if text == "all" else text.removesuffix("%")
        try:
            within = 0 < float(number) <= 100  # noqa: PLR2004
        except ValueError:
            within = False
        if not within:
            raise InvalidRequestError("--when-ready", "all, or a percentage above 0", repr(text))
        return cls(Fraction(Decimal(number)))

    def of(self, count: int) -> int:
        """Return how many of so many: rounded up, so that at least one is, and `all` is all."""
        return math.ceil(self.percent * count / 100)


@dataclass(frozen=True, slots=True)
class Readiness:
    """The live instances that count, those in the scope. `needed`: so many of them have to be READY.

    `rows`: each with what it said last; where it is tried again just now, with why it failed. `failed`: so many have
    failed for good; `retrying`: so many have failed, and are tried again by themselves. `unwanted`: so many are not
    READY and will not load it, as the ledger is. `elsewhere`: live workers out of the scope. `sure`: these workers are
    live; when the time was over before that was known, they may be gone for long.
    """

    rows: Rows
    needed: int
    ready: int
    failed: int
    retrying: int
    unwanted: int
    elsewhere: int
    sure: bool

    @property
    def enough(self) -> bool:
        """It may get traffic."""
        return self.sure and 0 < self.needed <= self.ready

    @property
    def hopeless(self) -> bool:
        """Waiting for the instances that are there now will not make it enough: none is, or too many have ended."""
        return self.sure and len(self.rows) - self.failed - self.unwanted < max(self.needed, 1)


def wait_until_ready(
    ledger: Ledger,
    bus: Bus,
    topics: Topics,
    model: str,
    version: int,
    quorum: Quorum,
    scope: Mapping[str, str],
    timeout_s: float,
) -> Readiness:
    """Return once enough instances are READY, enough cannot become so, or the time is over.

    A node tries again what may have failed for a passing reason: that is waited for. Workers that come meanwhile count
    from when they are seen, and those that go, or are not seen for long, no longer. InvalidRequestError when there is
    no such version, or it is retired, meanwhile, too.
    """
    record = known_model(ledger.read(), model)
    announced = announced_version(record, model, version)
    name = Name(model, version, announced.digest, announced.offset)
    found: Readiness | None = None
    seen: Progress | None = None
    failures: dict[str, status_pb2.InstanceStatus] = {}
    for progress in follow(bus, topics.status.name, name, timeout_s):
        if progress != seen:  # what is said may follow from what somebody has rolled out, held or retired meanwhile
            record, seen = known_model(ledger.read(), model), progress
            announced_version(record, model, version)
        found = _judge(_recalled(progress, failures), record, version, quorum, scope)
        if found.enough or found.hopeless:
            break
    assert found is not None  # noqa: S101 - `follow` has a last look
    return found


def _recalled(progress: Progress, failures: dict[str, status_pb2.InstanceStatus]) -> Progress:
    """Put in the place of an instance that is tried once more how it failed, which `failures` remembers."""
    failures |= {_key(status): status for status in progress.failed}
    rows = tuple(
        (worker, failures.get(_key(worker), status) if status and status.state in _WORKING else status)
        for worker, status in progress.rows
    )
    return replace(progress, rows=rows)


def _judge(
    progress: Progress, record: ModelRecord, version: int, quorum: Quorum, scope: Mapping[str, str]
) -> Readiness:
    rows = tuple(row for row in progress.rows if scope.items() <= dict(row[0].labels).items())
    counted = Progress(rows)
    failed = [status for status in counted.failed if not status.retry_at_ms]
    ended = {_key(status) for status in (*counted.ready, *failed)}
    waiting = [worker for worker, _ in rows if _key(worker) not in ended]
    return Readiness(
        rows=rows,
        needed=quorum.of(len(rows)),
        ready=len(counted.ready),
        failed=len(failed),
        retrying=len(counted.failed) - len(failed),
        unwanted=sum(not _wanted(record, version, worker) for worker in waiting),
        elsewhere=len(progress.rows) - len(rows),
        sure=progress.sure,
    )


def _key(of: status_pb2.Presence | status_pb2.InstanceStatus) -> str:
    """A start of a worker."""
    return of.incarnation + of.worker


def _wanted(record: ModelRecord, version: int, worker: status_pb2.Presence) -> bool:
    """Tell whether a worker loads it: it is to serve there, or is loaded ahead everywhere.

    A near-line worker may compute for all nodes that share its store, whatever their labels.
    """
    audiences = [dict(worker.labels)]
    if worker.role == status_pb2.NEARLINE:
        audiences += [{}, *(dict(line.scope) for line in record.lines)]
    return prepared(record) == version or any(
        share.version == version for labels in audiences for share in shares_for(record, labels)
    )
