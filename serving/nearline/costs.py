"""How long versions take, and so how many rows fit into a share of time: the bulkhead between models. Pure.

A version that is too slow for even one run within its share is never run in line with the events: what it owes is
marked as due, and computed beside them.
"""

from dataclasses import dataclass

FIRST_ROWS = 1
"""Rows of the first run, when nothing is known yet: a version may take a second for each."""
_SURE_ROWS = 32
_WEIGHT = 0.2
_FORGET = 1.02
"""A run that was slow once, because the machine was busy, is forgotten at 2 % a run."""


@dataclass(slots=True)
class _Cost:
    run_s: float
    row_s: float
    most: int


class Costs:
    """By version. One thread."""

    def __init__(self) -> None:
        self._known: dict[bytes, _Cost] = {}

    def observe(self, version: bytes, rows: int, seconds: float) -> None:
        """Take in how long a run of so many rows took."""
        known = self._known.get(version)
        if known is None:
            self._known[version] = _Cost(seconds, seconds / rows, rows)
            return
        known.run_s = min(known.run_s * _FORGET, seconds)
        if rows > known.most:  # says more of a row's cost than all the smaller ones
            known.row_s, known.most = seconds / rows, rows
            return
        weight = _WEIGHT * min(1.0, rows / _SURE_ROWS)
        known.row_s += weight * (seconds / rows - known.row_s)

    def fitting(self, version: bytes, seconds: float) -> int:
        """Return how many rows fit into so many seconds; 0 when no run does."""
        known = self._known.get(version)
        if known is None:
            return FIRST_ROWS
        if known.run_s > seconds:
            return 0
        return max(1, int(seconds / max(known.row_s, 1e-9)))

    def forget(self, versions: set[bytes]) -> None:
        """Keep only these."""
        for version in self._known.keys() - versions:
            del self._known[version]
