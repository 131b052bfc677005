"""A trouble that lasts, such as a broker that is away: a few lines of the log, not one for every attempt."""

import re
import time
from collections.abc import Callable
from typing import Any

import structlog

log = structlog.get_logger()

REMIND_S = 60.0
_NUMBERS = re.compile(r"[0-9a-fA-F]{8,}|\d+")


class Trouble:
    """Logs when it begins, when it has another reason, once a minute while it lasts, and when it is over.

    `event`: of the warnings; `over`: of the line at its end. Used by one thread. `clock` is monotonic, in seconds.
    """

    def __init__(self, event: str, over: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._event = event
        self._over = over
        self._clock = clock
        self._began: float | None = None
        self._said: dict[str, float] = {}
        self._attempts = 0

    def met(self, reason: str, **facts: Any) -> None:
        """Tell of an attempt that failed; `facts` stand on the line if there is one."""
        now = self._clock()
        if self._began is None:
            self._began = now
        self._attempts += 1
        # Ports, seconds and ids differ from attempt to attempt, and clients alternate between two reasons.
        kind = _NUMBERS.sub("#", reason)
        newest = max(self._said.values(), default=None)
        if kind in self._said and newest is not None and now - newest < REMIND_S:
            return
        self._said[kind] = now
        log.warning(self._event, error=reason, attempts=self._attempts, lasts_s=round(now - self._began, 1), **facts)

    def ended(self, **facts: Any) -> None:
        """Tell of an attempt that succeeded: a line if there was trouble."""
        if self._began is None:
            return
        log.info(self._over, attempts=self._attempts, lasted_s=round(self._clock() - self._began, 1), **facts)
        self._began, self._attempts = None, 0
        self._said.clear()
