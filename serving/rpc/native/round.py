"""How long the event loop has handled what it read in this round: what it comes to now has waited for that at least.

Nobody sees what waits in the sockets. But a loop goes round: it reads all that has come, and only then does it write.
"""

import asyncio
import time
from collections.abc import Callable


class Round:
    """One event loop's. It begins with the first request that asks a handler."""

    __slots__ = ("_began", "_clock")

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began: float | None = None

    def seconds(self) -> float:
        """Return for how many seconds this round has been going on."""
        now = self._clock()
        if self._began is None:
            self._began = now
            asyncio.get_running_loop().call_soon(self._end)
        return now - self._began

    def _end(self) -> None:
        self._began = None
