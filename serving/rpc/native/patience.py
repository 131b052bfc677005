"""How long a connection has held bytes that only its peer can move, and did not, or only drop by drop."""

from serving.rpc.http2.connection import Connection
from serving.rpc.http2.streams import State
from serving.rpc.native.call import RunningCall
from serving.rpc.native.declined import Declined
from serving.rpc.native.limits import ServerLimits


class Patience:
    """One connection's. What a handler has to take, or has not answered yet, is no fault of the peer's."""

    def __init__(self, limits: ServerLimits) -> None:
        self._limit_s = limits.stalled_s
        self._least = limits.stalled_s * limits.least_bytes_per_s
        self._since = 0.0
        self._moved: int | None = None

    def ended(self, connection: Connection, now: float) -> bool:
        """Tell whether too little has moved for too long; never so when nothing waits for the peer."""
        session, outbox = connection.session, connection.outbox
        if not outbox.queued and not _requests_wait(connection):
            self._moved = None
            return False
        # Only bytes count: frames that move nothing, such as PING, are no progress, nor is a window of one byte.
        moved = session.received + outbox.taken
        if self._moved is None or moved - self._moved >= self._least:
            self._since, self._moved = now, moved
        return now - self._since > self._limit_s

    def forget(self) -> None:
        """Begin anew: it is not for the windows that this connection waits."""
        self._moved = None


def _requests_wait(connection: Connection) -> bool:
    """Whether there are requests, begun at least by their headers, that wait for their rest alone."""
    for stream in connection.streams.values():
        if stream.state is State.OPEN:
            call = stream.owner
            if isinstance(call, Declined) or (isinstance(call, RunningCall) and call.waits):
                return True
    return False
