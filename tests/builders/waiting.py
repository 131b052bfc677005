"""Waiting for a state, with a deadline."""

import threading
import time
from collections.abc import Callable

DEADLINE_S = 120.0


def wait_until(condition: Callable[[], object], what: str = "", timeout_s: float = DEADLINE_S) -> None:
    """Return as soon as it holds; AssertionError when it does not in time."""
    deadline = time.monotonic() + timeout_s
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, what or "not in time"
        pause.wait(0.002)
