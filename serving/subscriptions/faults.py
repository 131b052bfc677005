"""Records of the ledger that cannot be used: a line of the log, and whatever else is told."""

from collections.abc import Callable

import structlog

from protos.judging import Outcome, Verdict
from protos.nearline.v1 import status_pb2

log = structlog.get_logger()

Fault = Callable[[int, Verdict], None]


def told(offset: int, verdict: Verdict, fault: Fault) -> None:
    """Tell of a record if it cannot be used. One that nobody trusted has signed may be an attack: alert on it."""
    if verdict.outcome is not Outcome.UNUSABLE:
        return
    said = {"offset": offset, "model": verdict.model, "version": verdict.version, "error": verdict.message}
    log.error("ledger.fault", kind=status_pb2.ErrorKind.Name(verdict.kind), **said)
    fault(offset, verdict)
