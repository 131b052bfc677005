"""Tells which partitions a consumer has silently stopped reading (kafka-python #3106, #3131). Pure.

It compares what the consumer says of itself, its positions, with the ends as another client sees them. Whoever asks
makes the consumer anew when it names one; a new one starts at the store's positions, so that is harmless.
"""

from collections.abc import Mapping
from dataclasses import dataclass

_PATIENCE_MOST = 64
"""A partition that stays where it is though its consumer was made anew is not the consumer's fault: name it rarely."""


@dataclass(slots=True)
class _Seen:
    position: int
    patience_s: float
    behind_since: float | None = None


class Watchdog:
    """A partition has stalled when for longer than `stall_s` its end was ahead and its position did not move.

    Named once, it is named again at the same position after twice the time, then after four times, and so on. One that
    was not assigned, not polled or not behind in between has its time begin anew.
    """

    def __init__(self, stall_s: float) -> None:
        self._stall_s = stall_s
        self._seen: dict[int, _Seen] = {}

    def stalled(self, now: float, ends: Mapping[int, int], positions: Mapping[int, int]) -> list[int]:
        """Take a look, and return the partitions that have stalled, sorted.

        `now`: seconds by a monotonic clock. `ends`: the next offset of each partition, asked of the bus after
        `positions`, those of the consumer's own partitions. Without an end, nothing is known of a partition.
        """
        for partition, seen in self._seen.items():
            if partition not in positions or partition not in ends:
                seen.behind_since = None
        known = sorted(positions.keys() & ends.keys())
        return [partition for partition in known if self._look(now, partition, ends[partition], positions[partition])]

    def pause(self) -> None:
        """Say that nothing was polled since the last look, on purpose."""
        for seen in self._seen.values():
            seen.behind_since = None

    def _look(self, now: float, partition: int, end: int, position: int) -> bool:
        seen = self._seen.get(partition)
        if seen is None or seen.position != position or end <= position:
            seen = self._seen[partition] = _Seen(position, self._stall_s)
        if end <= position:
            return False
        if seen.behind_since is None:
            seen.behind_since = now
            return False
        if now - seen.behind_since <= seen.patience_s:
            return False
        seen.behind_since = now
        seen.patience_s = min(2 * seen.patience_s, _PATIENCE_MOST * self._stall_s)
        return True
