"""When the patience with a connection ends: each kind of slowness has its limit, and its end."""

import random
from enum import Enum, auto
from typing import Any, NamedTuple

from serving.rpc.http2.codes import ConnectionFault, ErrorCode
from serving.rpc.http2.connection import Connection
from serving.rpc.native.limits import ServerLimits
from serving.rpc.native.patience import Patience


class End(Enum):
    """How a connection is to end."""

    DROPPED = auto()
    """At once, with what was not written."""
    FAILED = auto()
    """With a GOAWAY that says why."""
    GENTLE = auto()
    """When what runs on it has ended."""


class Struck(NamedTuple):
    """The limit, and what follows; `fault` of a failed one."""

    limit: str
    end: End
    fault: ConnectionFault | None = None


class Watch:
    """One connection's, from `now` on."""

    __slots__ = (
        "_active", "_began", "_last_id", "_limits", "_partial_since", "_patience", "_progress", "_retires",
        "_stalled_since", "_transport", "_unwritten",
    )  # fmt: skip

    def __init__(self, limits: ServerLimits, transport: Any, now: float) -> None:
        self._limits = limits
        self._transport = transport
        self._began = self._active = now
        self._last_id = 0
        self._retires = now + limits.age_s * (1 + random.random() / 10)  # noqa: S311 - spreads reconnections
        self._patience = Patience(limits)
        self._partial_since: float | None = None
        self._progress = 0
        self._stalled_since: float | None = None
        self._unwritten = 0

    def paused(self, now: float) -> None:
        """The socket takes nothing more."""
        self._stalled_since, self._unwritten = now, self._transport.get_write_buffer_size()

    def resumed(self) -> None:
        """It does again."""
        self._stalled_since = None

    def look(self, connection: Connection, now: float, *, going: bool) -> Struck | None:
        """Return what has struck; called every second. going: its end is announced already."""
        limits, greeted = self._limits, connection.greeted
        partial_s = self._partial_s(connection, now)
        if self._stalled(connection, now):
            return Struck("stalled_s", End.DROPPED)
        if not greeted and now - self._began > limits.handshake_s:
            fault = ConnectionFault(ErrorCode.SETTINGS_TIMEOUT, "no SETTINGS in time")
            return Struck("handshake_s", End.FAILED, fault)
        if greeted and partial_s > limits.stalled_s:
            fault = ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "a frame took too long")
            return Struck("stalled_s", End.FAILED, fault)
        if going:
            return None
        if now > self._retires:
            return Struck("age_s", End.GENTLE)
        return Struck("idle_s", End.GENTLE) if self._idle_s(connection, now) > limits.idle_s else None

    def _idle_s(self, connection: Connection, now: float) -> float:
        """For how long there has been no call, by what each look saw: PING, SETTINGS and their like are none."""
        last_id = connection.session.last_id
        if connection.busy or last_id != self._last_id:
            self._active, self._last_id = now, last_id
        return now - self._active

    def _partial_s(self, connection: Connection, now: float) -> float:
        """For how long a frame or a header block has been under way."""
        if not connection.unfinished:
            self._partial_since = None
            return 0.0
        if self._partial_since is None or connection.progress != self._progress:
            self._partial_since, self._progress = now, connection.progress
        return now - self._partial_since

    def _stalled(self, connection: Connection, now: float) -> bool:
        if self._transport.is_closing():
            self._stalled_since = self._stalled_since or now
        if self._stalled_since is None:
            return self._patience.ended(connection, now)
        self._patience.forget()  # who is not heard cannot open windows
        unwritten, limits = self._transport.get_write_buffer_size(), self._limits
        if self._unwritten - unwritten >= limits.stalled_s * limits.least_bytes_per_s:
            self._stalled_since, self._unwritten = now, unwritten
        self._unwritten = max(self._unwritten, unwritten)  # what was written since is no progress, and hides none
        return now - self._stalled_since > limits.stalled_s
