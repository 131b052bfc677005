"""The deadlines of calls that wait, by the hundredth of a second: a timer for each would cost more than its call."""

import asyncio
import time
from typing import Protocol

_STEP_S = 0.01
_MOST = 2_048
"""Steps that are kept; then those that nobody waits for any more are given up: clients choose how many there are."""


class Waiting(Protocol):
    """A call with a deadline. It is known by its identity."""

    def expire(self) -> None:
        """The deadline has passed."""
        ...


class Due(dict[Waiting, None]):
    """Calls with deadlines in one step. Who does not wait any more is taken out by `pop`."""

    __slots__ = ("timer",)

    timer: asyncio.TimerHandle


class Deadlines:
    """Of one event loop. A call expires within a hundredth of a second after its deadline."""

    __slots__ = ("_due", "_most")

    def __init__(self) -> None:
        self._due: dict[int, Due] = {}
        self._most = _MOST

    def __len__(self) -> int:
        return len(self._due)

    def step(self, deadline: float) -> int:
        """Return what deadlines have in common whose calls expire at the same moment."""
        return int(deadline / _STEP_S) + 1

    def add(self, call: Waiting, deadline: float) -> Due:
        """Let a call expire at a deadline, by the monotonic clock, unless it is taken out of what is returned."""
        step = self.step(deadline)
        due = self._due.get(step)
        if due is None:
            due = self._begin(step)
        due[call] = None
        return due

    def _begin(self, step: int) -> Due:
        if len(self._due) >= self._most:
            self._sweep()
        due = self._due[step] = Due()
        seconds = max(step * _STEP_S - time.monotonic(), 0.0)
        due.timer = asyncio.get_running_loop().call_later(seconds, self._expire, step)
        return due

    def _expire(self, step: int) -> None:
        # In the order in which they came; one may end others.
        due = self._due.pop(step)
        while due:
            call = next(iter(due))
            del due[call]
            call.expire()

    def _sweep(self) -> None:
        for step in [step for step, due in self._due.items() if not due]:
            self._due.pop(step).timer.cancel()
        self._most = max(_MOST, 2 * len(self._due))
