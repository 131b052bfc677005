"""The connection as its calls see it."""

from typing import Any, Protocol

from serving.rpc.http2.connection import Connection
from serving.rpc.native.deadlines import Deadlines
from serving.rpc.native.head import Head
from serving.rpc.native.routes import Route


class Host(Protocol):
    """See exchange.Exchange. `paused`: the socket takes nothing more just now."""

    connection: Connection
    calls: set[Any]
    compress_bytes: int
    paused: bool
    deadlines: Deadlines

    def flush_soon(self) -> None:
        """Write what is in the outbox, with whatever else this tick adds."""
        ...

    def admit(self, timeout: float | None, *, streaming: bool) -> None:
        """Take a place among the calls that run; see House."""
        ...

    def check_taken(self, size: int) -> None:
        """StatusError when the peer does not take what it asked for, and an answer of so many bytes is too much."""
        ...

    def strike(self, limit: str) -> None:
        """Count a limit that was met."""
        ...

    def ended(self, call: Any, *, admitted: bool, streaming: bool = False) -> None:
        """A call came to its end; admitted: it had a place among those that run."""
        ...

    def freed(self, calls: int) -> None:
        """So many calls give back their places among those that run."""
        ...

    def later(self, stream_id: int, head: Head, body: bytes, began: float) -> None:
        """Make a call of a request, for its handler."""
        ...

    def refuse(self, stream_id: int, route: Route, error: Exception, began: float) -> None:
        """End a request with the status of an error, before there is a call."""
        ...
