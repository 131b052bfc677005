"""Queues that were found too long, so that whoever comes next is told so before anything is done.

Of an overloaded server, refusing must cost little: else it has no time left to answer.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

from serving.errors import OverloadedError

_MOST = 1_000
_BELIEVED_S = 0.05
"""Then somebody asks again: it was an estimate, and much of what waits may be given up."""


class _Full(NamedTuple):
    """Who was refused, when, and why. `wait_s`: how long it would have taken; `most_s`: that anybody waits."""

    at: float
    wait_s: float
    most_s: float
    words: str
    model: str


class FullQueues:
    """By what names a queue: anything that can be a key. Used on one event loop."""

    __slots__ = ("_clock", "_known", "refused")

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[object, _Full] = {}
        self.refused: dict[str, int] = {}
        """How many calls were refused, by model, since somebody took the numbers."""

    def __bool__(self) -> bool:
        """Whether anything is known of any queue."""
        return bool(self._known)

    def learn(self, queue: object, error: OverloadedError) -> None:
        """Remember why somebody was refused, if that was for the time. queue: None = nobody knows which it was."""
        if error.wait_s and queue is not None:
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[queue] = _Full(self._clock(), error.wait_s, error.most_s, str(error), error.model)

    def refuses(self, queue: object, left_s: float | None) -> str:
        """Return why a call that may wait for so long (None = as long as anybody) need not ask; "" = let it ask."""
        full = self._known.get(queue)
        if full is None:
            return ""
        passed_s = self._clock() - full.at
        if passed_s > _BELIEVED_S or passed_s > full.wait_s:
            del self._known[queue]
            return ""
        most_s = full.most_s if left_s is None or left_s > full.most_s else left_s
        # By now the queue is at best so much shorter.
        if full.wait_s - passed_s <= most_s:
            return ""
        self.refused[full.model] = self.refused.get(full.model, 0) + 1
        return full.words

    def again(self, queue: object, calls: int) -> None:
        """Count calls that were refused for what is known of a queue."""
        full = self._known.get(queue)
        if full is not None:
            self.refused[full.model] = self.refused.get(full.model, 0) + calls
