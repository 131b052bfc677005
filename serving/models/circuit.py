"""Counts how a version's runs go, and tells once when too many of them failed: a model can go wrong after its samples.

NaN for some input is no proof: rows that fail are counted, one by one, against rows that went well.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from protos.nearline.v1 import status_pb2
from serving.errors import ModelError


@dataclass(frozen=True, slots=True)
class Tolerance:
    """`failures` of the last `rows` are too many; rows are counted in stretches of that length. 0 = none ever is."""

    failures: int = 20
    rows: int = 200


@dataclass(slots=True)
class Circuit:
    """Of one version in one process. Any thread."""

    tolerance: Tolerance = Tolerance()
    _tell: Callable[[ModelError], None] | None = None
    _tripped: ModelError | None = None
    """While nobody was to be told."""
    _rows: int = 0
    _failures: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def watch(self, tell: Callable[[ModelError], None]) -> None:
        """Have `tell` called, once, with the error that is published."""
        with self._lock:
            tripped, self._tripped = self._tripped, None
            self._tell = tell if tripped is None else None
        if tripped is not None:
            tell(tripped)

    def passed(self, rows: int) -> None:
        """Tell of a run that went well."""
        with self._lock:
            self._count(rows)

    def failed(self, error: ModelError, rows: int) -> None:
        """Tell of a run that failed. With several rows nobody knows which: they are run again in halves."""
        if rows > 1 or not self.tolerance.failures:
            return
        with self._lock:
            self._failures += 1
            tell = self._tell if self._failures >= self.tolerance.failures else None
            if tell is not None:
                self._tell = None
            failures, of = self._failures, self._rows + 1
            self._count(1)
        if tell is not None:
            tell(
                ModelError(
                    status_pb2.RUN, f"{failures} of {of} rows failed: {error}", detail=error.detail, rejected=True
                )
            )

    def trip(self, error: ModelError) -> None:
        """Tell at once: others have found out."""
        with self._lock:
            tell, self._tell = self._tell, None
            if tell is None:
                self._tripped = error
        if tell is not None:
            tell(error)

    def _count(self, rows: int) -> None:
        self._rows += rows
        if self._rows >= self.tolerance.rows:
            self._rows = self._failures = 0
