"""When calls are due: a Poisson process, made in pieces beforehand, so that sending costs no random number each."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from serving.loadtest.plan import Open

_PIECE = 1 << 14
Instants = NDArray[np.int64]


def schedule(pacing: Open, share: float, warm_ns: int, begin_ns: int, end_ns: int, seed: int) -> Iterator[Instants]:
    """Yield when the calls of one process are due, from the warm-up on; `share`: its part of every rate."""
    at = warm_ns
    for number, surge in enumerate(pacing.surges):
        first, last = (min(begin_ns + int(second * 1e9), end_ns) for second in (surge.first_s, surge.last_s))
        yield from _made(pacing, pacing.rate * share, at, first, seed + 2 * number * _PIECE)
        yield from _made(pacing, surge.rate * share, first, last, seed + (2 * number + 1) * _PIECE)
        at = last
    yield from _made(pacing, pacing.rate * share, at, end_ns, seed + 2 * len(pacing.surges) * _PIECE)


def _made(pacing: Open, rate: float, begin_ns: int, end_ns: int, seed: int) -> Iterator[Instants]:
    for piece in arrivals(rate / pacing.bunch, begin_ns, end_ns, seed, even=pacing.even):
        yield piece.repeat(pacing.bunch)


def arrivals(rate: float, begin_ns: int, end_ns: int, seed: int, *, even: bool = False) -> Iterator[Instants]:
    """Yield ascending instants in [begin, end) in nanoseconds, INT64, in pieces; independent exponential gaps.

    even: equal gaps, beginning anywhere in the first. Splitting a Poisson process over processes gives Poisson
    processes: each process makes its own with its share of the rate and another seed.
    """
    random, gap = np.random.default_rng(seed), 1e9 / rate
    at = begin_ns - gap * random.random() if even else float(begin_ns)
    while at < end_ns:
        gaps = np.full(_PIECE, gap) if even else random.exponential(gap, _PIECE)
        instants = at + np.cumsum(gaps)
        at = float(instants[-1])
        kept = instants[instants < end_ns].astype(np.int64)
        if len(kept):
            yield kept
