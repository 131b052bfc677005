"""How often a peer may make us work for nothing."""

import time

from serving.rpc.http2.codes import ConnectionFault, ErrorCode


class Honest:
    """What a peer did that is work for something: so many `calls`."""

    __slots__ = ("calls",)

    def __init__(self) -> None:
        self.calls = 0


class Allowance:
    """A bucket of `burst` that time refills, and honest work. Empty = the peer is told to calm down, and goes."""

    __slots__ = ("_burst", "_calls", "_honest", "_left", "_limit", "_per_call", "_per_s", "_since")

    def __init__(self, limit: str, burst: int, per_s: int, honest: Honest, per_call: float = 0.0) -> None:
        """`per_call`: a call goes with so many."""
        self._limit = limit
        self._burst = burst
        self._per_s = per_s
        self._honest = honest
        self._per_call = per_call
        self._left = float(burst)
        self._calls = 0
        self._since = time.monotonic()

    def spend(self) -> None:
        """Take one; ConnectionFault when there is none. Only a bucket that seems empty is refilled: it is rare."""
        self._left -= 1
        if self._left < 0:
            now, calls = time.monotonic(), self._honest.calls
            earned = (now - self._since) * self._per_s + (calls - self._calls) * self._per_call
            self._left = min(self._burst, self._left + earned)
            self._since, self._calls = now, calls
            if self._left < 0:
                raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, f"too many {self._limit}", limit=self._limit)
