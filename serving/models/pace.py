"""How long runs of a version take, from those that were seen. Pure."""

from serving.models.seen import Seen

FIRST_ROWS = 1
"""Rows of the first run, when nothing is known yet: a version may take a second for each."""
_SURE_ROWS = 32
_WEIGHT = 0.2
_FORGET = 1.02
"""A run that was slow once, because the machine was busy, is forgotten at 2 % a run."""


class Pace:
    """One thread at a time. It may begin with a run that somebody else has seen."""

    __slots__ = ("_most", "_row_s", "_run_s")

    def __init__(self, seen: Seen | None = None) -> None:
        self._most = 0
        self._row_s = self._run_s = 0.0
        if seen is not None:
            self.observe(seen.rows, seen.seconds)

    def observe(self, rows: int, seconds: float) -> None:
        """Take in how long a run of so many rows took."""
        self._run_s = min(self._run_s * _FORGET, seconds) if self._most else seconds
        if rows > self._most:  # says more of a row's cost than all the smaller ones
            self._row_s, self._most = seconds / rows, rows
            return
        weight = _WEIGHT * min(1.0, rows / _SURE_ROWS)
        self._row_s += weight * (seconds / rows - self._row_s)

    @property
    def known(self) -> bool:
        """Whether any run was seen."""
        return self._most > 0

    def seconds(self, rows: int) -> float:
        """Return how long a run of so many rows will take; 0 when nothing is known."""
        seconds = rows * self._row_s
        return seconds if seconds > self._run_s else self._run_s  # noqa: FURB136 - hot: `max` takes three times as long

    def fitting(self, seconds: float) -> int:
        """Return how many rows fit into so many seconds; 0 when no run does."""
        if not self._most:
            return FIRST_ROWS
        if self._run_s > seconds:
            return 0
        return max(1, self.rows(seconds))

    def rows(self, seconds: float) -> int:
        """Return how many rows take so many seconds, if a run costs nothing beside them; 0 when nothing is known."""
        return int(seconds / max(self._row_s, 1e-9)) if self._most else 0
