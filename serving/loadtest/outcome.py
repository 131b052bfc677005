"""What came of a load: latencies by kind of answer, errors by code, achieved against offered rate."""

from collections import Counter
from typing import Any

from serving.loadtest.latencies import Latencies
from serving.loadtest.plan import Open, Plan
from serving.loadtest.recorder import MESSAGES, Report

PERCENTILES = (50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.99)


class Outcome:
    """Adds up reports, while a load runs and at its end."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.errors: Counter[str] = Counter()
        self.messages: dict[str, list[str]] = {}
        self.offered = 0
        self.unsent = 0
        self._in_time = 0
        self._counted = 0
        self._parts: dict[tuple[str, int], list[Latencies]] = {}
        self._late: list[Latencies] = []

    def add(self, report: Report) -> None:
        """Add what one process said."""
        for key, part in report.latencies.items():
            parts = self._parts.setdefault(key, [])
            parts.append(part)
            if len(parts) > 16:  # noqa: PLR2004 - bounds memory, and what is left to be added up at once
                self._parts[key] = [Latencies.merge(parts)]
        for code, count in report.errors.items():
            self.errors[code] += count
        for code, messages in report.messages.items():
            known = self.messages.setdefault(code, [])
            known += [message for message in messages if message not in known][: MESSAGES - len(known)]
        self._in_time += report.in_time
        self._counted += report.counted
        self.offered += report.offered
        self.unsent += report.unsent
        self._late.append(report.late)
        if len(self._late) > 256:  # noqa: PLR2004 - as above
            self._late = [Latencies.merge(self._late)]

    @property
    def kinds(self) -> list[str]:
        """Kinds of answers, the most frequent first."""
        counts: Counter[str] = Counter()
        for (kind, _), parts in self._parts.items():
            counts[kind] += sum(part.count for part in parts)
        return [kind for kind, _ in counts.most_common()]

    def latencies(self, kind: str | None = None, first_s: float = 0.0, last_s: float = float("inf")) -> Latencies:
        """Latencies of a kind, or of all, of calls that were due in [first, last) seconds, in whole slices."""
        length = self.plan.slice_s
        chosen = [
            part
            for (name, number), parts in self._parts.items()
            if kind in {None, name} and number * length >= first_s - 1e-9 and (number + 1) * length <= last_s + 1e-9
            for part in parts
        ]
        return Latencies.merge(chosen)

    def slices(self, kind: str) -> list[float]:
        """When calls were due that were answered so: the beginnings of their slices, in seconds, ascending."""
        return sorted(number * self.plan.slice_s for name, number in self._parts if name == kind)

    @property
    def answered(self) -> int:
        """Answers of any kind, those too that were only counted."""
        return self._counted + sum(part.count for parts in self._parts.values() for part in parts)

    @property
    def failed(self) -> int:
        """Calls that ended otherwise."""
        return sum(self.errors.values())

    @property
    def achieved(self) -> float:
        """Answers a second until the end; those that came later are in the latencies only."""
        return self._in_time / self.plan.duration_s

    @property
    def offered_rate(self) -> float | None:
        """Calls a second that were due; None in a closed loop."""
        return self.offered / self.plan.duration_s if isinstance(self.plan.pacing, Open) else None

    @property
    def late(self) -> Latencies:
        """How long after they were due calls were sent although the server had room: the generator's own fault."""
        return Latencies.merge(self._late)


def percentiles(histogram: Any) -> dict[str, float]:
    """Return percentiles, mean and maximum of a HdrHistogram of microseconds, in milliseconds."""
    found = {f"p{q:g}": histogram.get_value_at_percentile(q) / 1000 for q in PERCENTILES}
    return {**found, "max": histogram.get_max_value() / 1000, "mean": histogram.get_mean_value() / 1000}
