"""Many latencies in little room: rounded to 11 significant bits, as HdrHistogram does for three digits, and counted."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hdrh.histogram import HdrHistogram
from numpy.typing import NDArray

_BITS = 11
_LONGEST_US = 3_600_000_000
_DIGITS = 3

Counts = NDArray[np.int64]


def _none() -> Counts:
    return np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class Latencies:
    """`values`: distinct ones, ascending, in microseconds, at least 1; `counts`: how often each came. Both INT64."""

    values: Counts = field(default_factory=_none)
    counts: Counts = field(default_factory=_none)

    @classmethod
    def of(cls, nanoseconds: Counts) -> "Latencies":
        """Round and count."""
        micros = np.clip(nanoseconds // 1000, 1, _LONGEST_US)
        shift = np.maximum(np.frexp(micros.astype(np.float64))[1] - _BITS, 0).astype(np.int64)
        values, counts = np.unique((micros >> shift) << shift, return_counts=True)
        return cls(values, counts.astype(np.int64))

    @classmethod
    def merge(cls, parts: "list[Latencies]") -> "Latencies":
        """Add up."""
        if not parts:
            return cls()
        values, places = np.unique(np.concatenate([part.values for part in parts]), return_inverse=True)
        counts = np.zeros(len(values), np.int64)
        np.add.at(counts, places, np.concatenate([part.counts for part in parts]))
        return cls(values, counts)

    @property
    def count(self) -> int:
        """How many there are."""
        return int(self.counts.sum())

    def histogram(self) -> Any:
        """Return a HdrHistogram of microseconds, up to an hour, three digits."""
        histogram = HdrHistogram(1, _LONGEST_US, _DIGITS)
        for value, count in zip(self.values.tolist(), self.counts.tolist(), strict=True):
            histogram.record_value(value, count)
        return histogram
