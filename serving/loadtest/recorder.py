"""What came of calls, taken down at the cost of an append, and summed up a few times a second."""

import time
from array import array
from collections import Counter, defaultdict
from dataclasses import dataclass, field

import numpy as np

from serving.loadtest.latencies import Latencies
from serving.loadtest.statuses import Status

Slice = int
MESSAGES = 3
"""Messages that are kept of each code, as examples."""


@dataclass(slots=True)
class Report:
    """What ended since the report before: pickled.

    latencies: by kind and slice. errors: by code. messages: examples, by code. counted: answers of which nothing else
    is known. in_time: answers before the end, those too. late: how long after they were due calls were sent although
    nothing was in their way: the generator's own fault.
    """

    latencies: dict[tuple[str, Slice], Latencies] = field(default_factory=dict)
    errors: Counter[str] = field(default_factory=Counter)
    messages: dict[str, list[str]] = field(default_factory=dict)
    counted: int = 0
    in_time: int = 0
    offered: int = 0
    unsent: int = 0
    late: Latencies = field(default_factory=Latencies)
    last: bool = False
    failure: str = ""


@dataclass(slots=True)
class Ended:
    """Of one kind: when calls were due, and what passed until the answer, in nanoseconds."""

    due: "array[int]" = field(default_factory=lambda: array("q"))
    took: "array[int]" = field(default_factory=lambda: array("q"))


class Recorder:
    """Of one process. Calls that were due before `begin_ns` are not counted."""

    def __init__(self, begin_ns: int, end_ns: int, slice_s: float) -> None:
        self._begin_ns = begin_ns
        self._end_ns = end_ns
        self._slice_ns = int(slice_s * 1e9)
        self.ended: dict[str, Ended] = defaultdict(Ended)
        self.late = array("q")
        self.offered = 0
        self.unsent = 0
        self._counted = self._in_time = 0
        self._errors: Counter[str] = Counter()
        self._messages: dict[str, list[str]] = {}

    def count(self, answers: int, now: int) -> None:
        """Take down answers that came now, and nothing else of them."""
        if now >= self._begin_ns:
            self._counted += answers
            self._in_time += answers * (now <= self._end_ns)

    def failed(self, status: Status, due_ns: int) -> None:
        """Take down a call that ended otherwise than with an answer."""
        if due_ns < self._begin_ns:
            return
        self._errors[status.name] += 1
        known = self._messages.setdefault(status.name, [])
        if status.message and len(known) < MESSAGES and status.message not in known:
            known.append(status.message)

    def report(self, *, last: bool = False) -> Report:
        """Sum up, and begin anew."""
        report = Report(errors=self._errors, messages=self._messages, last=last)
        report.offered, report.unsent = self.offered, self.unsent
        report.counted, report.in_time = self._counted, self._in_time
        report.late = Latencies.of(np.array(self.late, np.int64))
        for kind, ended in self.ended.items():
            due = np.array(ended.due, np.int64)
            took = np.array(ended.took, np.int64)
            counted = due >= self._begin_ns
            due, took = due[counted], took[counted]
            report.in_time += int(np.count_nonzero(due + took <= self._end_ns))
            slices = (due - self._begin_ns) // self._slice_ns
            for number in np.unique(slices).tolist():
                report.latencies[kind, number] = Latencies.of(took[slices == number])
        # The arrays that connections hold on to stay: they are emptied, not replaced.
        for ended in self.ended.values():
            del ended.due[:], ended.took[:]
        del self.late[:]
        self.offered = self.unsent = self._counted = self._in_time = 0
        self._errors, self._messages = Counter(), {}
        return report


def now_ns() -> int:
    """Of the clock that all processes of a machine share, and that nobody sets."""
    return time.monotonic_ns()
