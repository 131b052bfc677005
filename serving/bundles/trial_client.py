"""Asks a helper for a trial (trial_helper.py)."""

import contextlib
import json
import os
import select
import socket
import time
from collections.abc import Callable

from serving.bundles.trial_helper import BEGUN, ORDER_BYTES
from serving.bundles.trial_order import Ended, Order

BEGIN_S = 5.0
_MORE_S = 10.0
"""Beside the trial's own time, for a machine that is busy."""
_ASK_S = 0.1


class HelperAwayError(Exception):
    """The helper does not answer: it is being started, or started again."""


def ask_helper(
    helper: socket.socket, order: Order, wanted: Callable[[], bool], begin_s: float = BEGIN_S
) -> Ended | None:
    """Return how the trial's process ended, None once nobody wants it; HelperAwayError. Any thread."""
    answer, to_helper = os.pipe()
    try:
        try:
            socket.send_fds(helper, [order.encode()], [to_helper], socket.MSG_DONTWAIT)
        except OSError as error:
            raise HelperAwayError from error
        finally:
            os.close(to_helper)
        waiting = select.poll()  # and not `select`, which takes no descriptor beyond 1,023
        waiting.register(answer, select.POLLIN)
        began = time.monotonic()
        found = b""
        while not found.endswith(b"\n"):
            limit_s = order.timeout_s + _MORE_S if found.startswith(BEGUN) else begin_s
            if time.monotonic() - began > limit_s:
                raise HelperAwayError
            ready = waiting.poll(_ASK_S * 1000)
            if not wanted():
                return None
            if ready:
                more = os.read(answer, ORDER_BYTES)
                if not more:
                    raise HelperAwayError
                if not found:  # begun only now: what the helper took for that is not the trial's
                    began = time.monotonic()
                found += more
    finally:
        with contextlib.suppress(OSError):
            os.close(answer)  # who waits for the trial ends it then
    return Ended(**json.loads(found.removeprefix(BEGUN)))
