"""One stream: its state, as a table (RFC 9113 §5.1), and both of its windows."""

from collections import deque
from enum import Enum, auto
from typing import Any


class State(Enum):
    """Of a stream that a client opened; there is no other kind, since a gRPC server pushes nothing."""

    OPEN = auto()
    HALF_CLOSED_REMOTE = auto()
    """The request is whole."""
    HALF_CLOSED_LOCAL = auto()
    """The response is whole, the request not."""
    CLOSED = auto()


class Happening(Enum):
    """What moves a stream on; `RESET` is either side's."""

    RECEIVED_END = auto()
    SENT_END = auto()
    RESET = auto()


TRANSITIONS: dict[tuple[State, Happening], State] = {
    (State.OPEN, Happening.RECEIVED_END): State.HALF_CLOSED_REMOTE,
    (State.OPEN, Happening.SENT_END): State.HALF_CLOSED_LOCAL,
    (State.HALF_CLOSED_REMOTE, Happening.SENT_END): State.CLOSED,
    (State.HALF_CLOSED_LOCAL, Happening.RECEIVED_END): State.CLOSED,
    (State.OPEN, Happening.RESET): State.CLOSED,
    (State.HALF_CLOSED_REMOTE, Happening.RESET): State.CLOSED,
    (State.HALF_CLOSED_LOCAL, Happening.RESET): State.CLOSED,
}
"""A missing entry is a defect of ours: frames that a state does not allow are refused before they get here."""


class Stream:
    """A request that is not answered yet. `owner` belongs to the layer above."""

    __slots__ = (
        "announced", "closing", "held", "id", "owed", "owner", "pending", "queued", "read_window", "received", "state",
        "waiting", "window",
    )  # fmt: skip

    def __init__(self, stream_id: int, state: State, window: int, read_window: int, announced: int) -> None:
        self.id = stream_id
        self.state = state
        self.window = window
        """Bytes that the peer lets us send; negative after a change of its settings (RFC 9113 §6.9.2)."""
        self.read_window = read_window
        self.announced = announced
        """The request's content-length; -1 without one."""
        self.received = 0
        self.held = 0
        """Bytes received and not consumed."""
        self.owed = 0
        """Bytes received for which the peer has no new credit yet."""
        self.pending: deque[memoryview] = deque()
        self.queued = 0
        """Bytes of `pending`."""
        self.closing: bytes | None = None
        """The block that ends the response when `pending` is sent; empty = the last DATA ends it."""
        self.waiting = False
        """Whether it stands in the queue for the connection's window."""
        self.owner: Any = None

    def move(self, happening: Happening) -> None:
        """Change the state."""
        self.state = TRANSITIONS[self.state, happening]
