"""When calls are due: a Poisson process, made in pieces beforehand, so that sending costs no random number each."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

_PIECE = 1 << 14


def arrivals(rate: float, begin_ns: int, end_ns: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Yield ascending instants in [begin, end) in nanoseconds, INT64, in pieces; independent exponential gaps.

    Splitting a Poisson process over processes gives Poisson processes: each process makes its own with its share of
    the rate and another seed.
    """
    random = np.random.default_rng(seed)
    at = float(begin_ns)
    while at < end_ns:
        instants = at + np.cumsum(random.exponential(1e9 / rate, _PIECE))
        at = float(instants[-1])
        kept = instants[instants < end_ns].astype(np.int64)
        if len(kept):
            yield kept
