"""How many rows of a version fit into a share of time: the bulkhead between models. Pure.

A version that is too slow for even one run within its share is never run in line with the events: what it owes is
marked as due, and computed beside them.
"""

from serving.models.pace import FIRST_ROWS, Pace


class Costs:
    """By version. One thread."""

    def __init__(self) -> None:
        self._known: dict[bytes, Pace] = {}

    def observe(self, version: bytes, rows: int, seconds: float) -> None:
        """Take in how long a run of so many rows took."""
        known = self._known.get(version)
        if known is None:
            known = self._known[version] = Pace()
        known.observe(rows, seconds)

    def fitting(self, version: bytes, seconds: float) -> int:
        """Return how many rows fit into so many seconds; 0 when no run does."""
        known = self._known.get(version)
        return FIRST_ROWS if known is None else known.fitting(seconds)

    def forget(self, versions: set[bytes]) -> None:
        """Keep only these."""
        for version in self._known.keys() - versions:
            del self._known[version]
