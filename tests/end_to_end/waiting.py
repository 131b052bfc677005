"""Waiting on states of other processes."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_LOOK_S = 0.02


def wait_until(look: Callable[[], T | None], what: str, timeout_s: float = 240.0) -> T:
    """Return the first true result of `look`; AssertionError with the last one when the time is over.

    The time is for what hangs: other work on the machine is no failure.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {timeout_s:g} s; last seen: {found!r}")
        time.sleep(_LOOK_S)
