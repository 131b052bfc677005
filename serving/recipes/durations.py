"""Lengths of time as people write them: `90s`, `15m`, `6h`, `7d`. Pure."""

import re
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_FORM = re.compile(r"(\d+)([smhd])")


def parse_duration(text: object) -> int:
    """Return seconds; ValueError says what was expected."""
    if isinstance(text, int) and not isinstance(text, bool) and text > 0:
        return text
    found = _FORM.fullmatch(text) if isinstance(text, str) else None
    if not found or not int(found[1]):
        raise ValueError(f"expected a length of time such as `90s`, `15m`, `6h` or `7d`, got {text!r}")
    return int(found[1]) * _UNITS[found[2]]


def show_duration(seconds: int) -> str:
    """Write seconds in the largest unit that holds them without a rest."""
    unit, size = next((u, s) for u, s in reversed(_UNITS.items()) if seconds % s == 0)
    return f"{seconds // size}{unit}"


Duration = Annotated[int, BeforeValidator(parse_duration), PlainSerializer(show_duration)]
"""Seconds, at least one; written as text in JSON and YAML."""
