"""In which order predictions that are due are computed: one score, smaller first. Pure.

A band for why it is due, and within it the most recently active entity first.
"""

MISSED = 0
"""Somebody asked, and had to be answered online."""
EXPIRED = 1
"""Somebody asked, and what was there had expired."""
EVENT = 2
"""Something happened, of priority 0 to 9: bands 2 to 11."""
SCHEDULED = 12
BACKFILL = 13

BY_EVENT = frozenset(range(EVENT, SCHEDULED))

BY_TIME = frozenset({EXPIRED, SCHEDULED})
"""Due because time passed: as of now, and not as of the entity's newest event."""

_WIDTH = 1 << 42
"""Milliseconds since the epoch fit until the year 2109."""


def score(band: int, active_ms: int) -> int:
    """Return the rank of a mark: below 2**46."""
    return band * _WIDTH + max(0, _WIDTH - 1 - active_ms)


def band_of(rank: int) -> int:
    """Return the band of a mark."""
    return rank // _WIDTH


def active_ms_of(rank: int) -> int:
    """Return the time of activity of a mark, in milliseconds."""
    return _WIDTH - 1 - rank % _WIDTH
