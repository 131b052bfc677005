"""Records of the ledger that cannot be used: a line of the log, and whatever else is told."""

from collections.abc import Callable

import structlog

from protos.judging import Outcome, Verdict
from protos.nearline.v1 import status_pb2

log = structlog.get_logger()

Fault = Callable[[int, Verdict], None]
Sound = Callable[[int], None]

_MOST = 10_000
"""Of more than that the first are told once more when the ledger is folded again."""


class Faults:
    """Tells of each of them once, and takes it back if the record counts after all. One thread."""

    def __init__(self, fault: Fault, sound: Sound) -> None:
        self._fault = fault
        self._sound = sound
        self._told: dict[int, str] = {}

    def judged(self, offset: int, verdict: Verdict) -> None:
        """Take note of a record. One that nobody trusted has signed may be an attack: alert on it."""
        if verdict.outcome is not Outcome.UNUSABLE:
            if self._told.pop(offset, None) is not None:
                self._sound(offset)
            return
        if self._told.get(offset) == verdict.message:
            return
        self._told[offset] = verdict.message
        if len(self._told) > _MOST:
            del self._told[next(iter(self._told))]
        said = {"offset": offset, "model": verdict.model, "version": verdict.version, "error": verdict.message}
        log.error("ledger.fault", kind=status_pb2.ErrorKind.Name(verdict.kind), **said)
        self._fault(offset, verdict)

    def forget(self) -> None:
        """The topic is another one: its offsets name other records."""
        self._told.clear()
