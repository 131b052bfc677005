"""How busy other programs kept the machine while something was measured: rows compare only where it was quiet."""

import os
import time
from collections.abc import Callable, Sequence

import psutil

from benchmarks.peers.processes import cpu_s


class Others:
    """From here on; `processes` are those of the server, which are ours as this process and its children are."""

    def __init__(self, processes: Callable[[], Sequence[psutil.Process]]) -> None:
        self._processes = processes
        self._began, self._busy, self._ours = time.monotonic(), _busy_s(), self._used_s()

    def cores(self) -> float:
        """How many cores others used until now, on average; time that the host took away counts as theirs."""
        passed = time.monotonic() - self._began
        return max(0.0, (_busy_s() - self._busy - (self._used_s() - self._ours)) / passed)

    def _used_s(self) -> float:
        return sum(os.times()[:4]) + cpu_s(self._processes())


def _busy_s() -> float:
    times = psutil.cpu_times()._asdict()
    counted = ("user", "nice", "system", "irq", "softirq", "steal")
    return float(sum(times.get(name, 0.0) for name in counted))
