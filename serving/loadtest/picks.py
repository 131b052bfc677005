"""Which request a call sends: drawn beforehand, evenly or by Zipf's law."""

from collections.abc import Iterator, Sequence
from itertools import cycle

import numpy as np

_DRAWN = 1 << 18


def picks(requests: Sequence[bytes], skew: float, seed: int) -> Iterator[bytes]:
    """Yield requests for ever; the n-th one (from 1) with a weight of n ** -skew. Repeats after 262,144."""
    random = np.random.default_rng(seed)
    count = len(requests)
    if skew:
        weights = np.arange(1, count + 1, dtype=np.float64) ** -skew
        chosen = np.searchsorted(np.cumsum(weights) / weights.sum(), random.random(_DRAWN), side="right")
        chosen = np.minimum(chosen, count - 1)
    else:
        # Whole rounds through all of them, each shuffled: no request waits for long, and few repeat at once.
        rounds = max(1, _DRAWN // count)
        chosen = np.concatenate([random.permutation(count) for _ in range(rounds)])
    return cycle([requests[place] for place in chosen.tolist()])
