"""CPU of a server's processes a request, over the time that calls of a load count, its warm-up left out."""

import threading
import time
from collections.abc import Callable, Sequence

import psutil

from serving.loadtest.outcome import Outcome


def cpu_s(processes: Sequence[psutil.Process]) -> float:
    """Seconds of CPU that they have used."""
    return sum(sum(process.cpu_times()[:2]) for process in processes)


class Meter:
    """For one load: `begun` goes to it, `us_a_request` says what came of it."""

    def __init__(self, processes: Sequence[psutil.Process], seconds: float) -> None:
        self._processes = processes
        self._seconds = seconds
        self._begin_s = 0.0
        self._used: list[float] = []
        self._thread = threading.Thread(target=self._look, daemon=True)

    def begun(self, begin_s: float) -> None:
        """Take down when calls begin to count, by the monotonic clock, and look then and at the end."""
        self._begin_s = begin_s
        self._thread.start()

    def us_a_request(self, outcome: Outcome) -> float:
        """Microseconds, over answers within the time."""
        return self.used_s() / (outcome.achieved * self._seconds) * 1e6

    def used_s(self) -> float:
        """Seconds of CPU in the time, which has to be over."""
        self._thread.join()
        before, after = self._used
        return after - before

    def _look(self) -> None:
        for at_s in (self._begin_s, self._begin_s + self._seconds):
            time.sleep(max(0.0, at_s - time.monotonic()))
            self._used.append(cpu_s(self._processes))


def metered(processes: Sequence[psutil.Process], seconds: float, run: Callable[..., Outcome]) -> tuple[Outcome, float]:
    """Run a load of so many seconds, given `begun`; return what came of it, and CPU a request in us."""
    meter = Meter(processes, seconds)
    outcome = run(begun=meter.begun)
    return outcome, meter.us_a_request(outcome)
