"""How much work waits and runs, of all versions, and when a request that joins it will be answered. No I/O, no clock.

Work is in seconds of a core, as the paces of the versions tell. How long it takes by the clock is another matter:
others use the core, and requests have to be read, answered and refused in the same loop. So that is measured, too; and
how late the loop comes to what is ready, since a request waited for that before it was seen, and its answer will.
"""

_MEMORY_S = 0.5
"""Of the clock, while there is work: what was measured so long ago counts half."""
_WEIGHT = 0.3
"""Of the last time that the loop was late."""
_PRIOR_S = 0.05
"""A core to ourselves is what is believed at first, for so long."""


class Backlog:
    """One batcher's. Queues tell it what they add to `work_s`, and whether there are any of them (`queues`)."""

    __slots__ = ("_clock_s", "_done_s", "_since", "late_s", "queues", "work_s")

    def __init__(self) -> None:
        self.work_s = 0.0
        """Of everything that waits or runs."""
        self.queues = 0
        """Versions of which anything does."""
        self.late_s = 0.0
        """So long what is ready waits for the loop."""
        self._done_s = self._clock_s = _PRIOR_S
        self._since = 0.0

    @property
    def speed(self) -> float:
        """Seconds of work that are done in a second while there is any: less than 1 on a core that is shared."""
        return max(self._done_s, 1e-9) / self._clock_s

    def begin(self, now: float) -> None:
        """There is work from now on, and there was none before."""
        self._since = now

    def done(self, seconds: float, now: float) -> None:
        """A run of so many seconds of a core has ended."""
        # One long standstill, such as a suspended machine, says no more than the memory holds.
        clock_s = min(max(now - self._since, 0.0), _MEMORY_S)
        kept = 0.5 ** (clock_s / _MEMORY_S)
        self._done_s = self._done_s * kept + seconds
        self._clock_s = self._clock_s * kept + clock_s
        self._since = now

    def heard(self, late_s: float) -> None:
        """The loop came to something so long after it was ready."""
        self.late_s += _WEIGHT * (late_s - self.late_s)

    def wait_s(self, own_s: float) -> float:
        """Return when a version is through with so much work of its own, in seconds of the clock.

        Versions take turns, so that of each other one at most as much work comes before.
        """
        others_s = min(max(self.work_s - own_s, 0.0), own_s * (self.queues - 1))
        return max(own_s, (own_s + others_s) / self.speed) + 2 * self.late_s
