"""Instants as people write them: `2026-12-24T18:00`, or a length of time from now, such as `36h`."""

import time
from datetime import UTC, datetime

from serving.errors import InvalidRequestError
from serving.recipes.durations import parse_duration

EXPECTED_TIME = "a time such as 2026-12-24T18:00 (UTC, or with an offset), or a length such as 90m, 36h, 7d"

EXPECTED_INSTANT = "milliseconds since the epoch, or a time such as 2026-12-24T18:00 (UTC, or with an offset)"

EXPECTED_LENGTH = "a length of time such as 90s, 15m, 6h, 7d"


def parse_time(text: str, option: str) -> int:
    """Return milliseconds since the epoch; a length of time counts from now."""
    try:
        return time.time_ns() // 1_000_000 + 1000 * parse_duration(text)
    except ValueError:
        pass
    try:
        return _instant_ms(text)
    except (ValueError, OverflowError):
        raise InvalidRequestError(option, EXPECTED_TIME, repr(text)) from None


def parse_instant(text: str, option: str) -> int:
    """Return milliseconds since the epoch, which a number is already."""
    try:
        found = int(text) if text.isdecimal() else _instant_ms(text)
    except (ValueError, OverflowError):
        found = -1
    if not 0 <= found < _END_MS:
        raise InvalidRequestError(option, EXPECTED_INSTANT, repr(text))
    return found


def parse_length(text: str, option: str) -> int:
    """Return seconds."""
    try:
        return parse_duration(text)
    except ValueError:
        raise InvalidRequestError(option, EXPECTED_LENGTH, repr(text)) from None


_END_MS = 1 << 63


def _instant_ms(text: str) -> int:
    said = datetime.fromisoformat(text)
    return int((said if said.tzinfo else said.replace(tzinfo=UTC)).timestamp() * 1000)
