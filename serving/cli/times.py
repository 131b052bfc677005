"""Instants as people write them: `2026-12-24T18:00`, or a length of time from now, such as `36h`."""

import time
from datetime import UTC, datetime

from serving.errors import InvalidRequestError
from serving.recipes.durations import parse_duration

EXPECTED_TIME = "a time such as 2026-12-24T18:00 (UTC, or with an offset), or a length such as 90m, 36h, 7d"


def parse_time(text: str, option: str) -> int:
    """Return milliseconds since the epoch; a length of time counts from now."""
    try:
        return time.time_ns() // 1_000_000 + 1000 * parse_duration(text)
    except ValueError:
        pass
    try:
        said = datetime.fromisoformat(text)
        return int((said if said.tzinfo else said.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError):
        raise InvalidRequestError(option, EXPECTED_TIME, repr(text)) from None
