"""Sliding windows in aligned buckets of event time: `15m`, `6h`, `7d`. Pure.

At instant t, a window of k buckets of w milliseconds holds the events before t whose bucket, floor(ts / w), is one of
the k up to the bucket of t - 1: k - 1 whole buckets and the one that is filling. Training uses the same buckets.
"""

import re

MINUTE_MS = 60_000
_UNITS = {"m": MINUTE_MS, "h": 60 * MINUTE_MS, "d": 24 * 60 * MINUTE_MS}
_SPAN = re.compile(r"([1-9][0-9]{0,6})([mhd])")
MAX_WINDOW_MS = 90 * _UNITS["d"]
MAX_BUCKETS = 400
_USUAL_BUCKETS = 170
_STEPS = ("1m", "5m", "15m", "1h", "3h", "6h", "12h", "1d")
"""Widths that are chosen from: 1h has 60 buckets of 1m, 6h 72 of 5m, 7d 168 of 1h, 30d 120 of 6h, 90d 90 of 1d."""


def span_ms(text: str, name: str) -> int:
    """Return milliseconds; ValueError names the field for what is no span of 1 minute to 90 days."""
    found = _SPAN.fullmatch(text)
    span = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 0 < span <= MAX_WINDOW_MS:
        raise ValueError(f"{name}: expected a span of 1m to 90d, such as 15m, 6h or 7d, got {text[:40]!r}")
    return span


def bucket_ms(window: str, bucket: str | None) -> int:
    """Return the width of the window's buckets: the given one, else the finest that needs no more than 170 buckets.

    ValueError when it does not divide the window, or makes more than 400 buckets.
    """
    span = span_ms(window, "window")
    if bucket is not None:
        width = span_ms(bucket, "bucket")
        if span % width or span // width > MAX_BUCKETS:
            raise ValueError(
                f"bucket: expected a width that divides {window} into at most {MAX_BUCKETS} buckets, got {bucket!r}"
            )
        return width
    fitting = [width for step in _STEPS if span % (width := span_ms(step, "bucket")) == 0]
    for most in (_USUAL_BUCKETS, MAX_BUCKETS):
        for width in fitting:
            if span // width <= most:
                return width
    raise ValueError(
        f"window: expected one that a bucket of {', '.join(_STEPS)} divides into at most {MAX_BUCKETS} parts, "
        f"got {window!r}"
    )
