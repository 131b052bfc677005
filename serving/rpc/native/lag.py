"""How long requests have waited before they were read: an event loop that has too much to do reads late.

Nobody sees what waits in the sockets. But a loop goes round: it reads all that has come, and does what that asks for.
So what is read now came after the round before began, or was read then.
"""

import asyncio
import time
from collections.abc import Callable


class Lag:
    """One event loop's. Only rounds count in which something asks: what is answered at once keeps no loop."""

    __slots__ = ("_began", "_clock", "_last_s")

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began: float | None = None
        self._last_s = 0.0

    def seconds(self) -> float:
        """Return for how many seconds, at most, what is handled now has waited for that."""
        now = self._clock()
        if self._began is None:
            self._began = now
            asyncio.get_running_loop().call_soon(self._ended)
        return self._last_s + now - self._began

    def _ended(self) -> None:
        """All that this round has read was handled."""
        if self._began is not None:
            self._last_s, self._began = self._clock() - self._began, None
