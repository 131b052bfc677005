"""How long a connection has held bytes that only its peer can move, and did not."""

from serving.rpc.http2.connection import Connection
from serving.rpc.http2.streams import State
from serving.rpc.native.call import RunningCall


class Patience:
    """One connection's. What a handler has to take, or has not answered yet, is no fault of the peer's."""

    def __init__(self) -> None:
        self._since = 0.0
        self._seen: tuple[int, int, int] | None = None

    def waited(self, connection: Connection, now: float) -> float:
        """Return for how many seconds nothing has moved; 0 when nothing waits for the peer."""
        session, outbox = connection.session, connection.outbox
        if not outbox.queued and not _requests_wait(connection):
            self._seen = None
            return 0.0
        # Frames that move nothing, such as PING, are no progress.
        seen = (session.buffered, outbox.queued, outbox.window)
        if seen != self._seen:
            self._since, self._seen = now, seen
        return now - self._since

    def forget(self) -> None:
        """Begin anew: it is not for the windows that this connection waits."""
        self._seen = None


def _requests_wait(connection: Connection) -> bool:
    """Whether there are parts of requests whose rest has not come, and which wait for nothing else."""
    if not connection.session.buffered:
        return False
    for stream in connection.streams.values():
        if stream.held and stream.state is State.OPEN:
            call = stream.owner
            if isinstance(call, RunningCall) and call.hungry:
                return True
    return False
