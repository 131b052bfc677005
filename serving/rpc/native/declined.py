"""A request that is not gRPC: heard to its end, then answered in plain HTTP."""

from serving.rpc.http2.connection import Connection
from serving.rpc.http2.streams import Stream
from serving.rpc.native.head import Refusal


class Declined:
    """Takes the place of a call. Nothing of the request is kept."""

    def __init__(self, connection: Connection, stream: Stream, refusal: Refusal) -> None:
        self._connection = connection
        self._stream = stream
        self._refusal = refusal

    def received(self, data: bytes, *, ended: bool) -> None:
        """Drop what comes."""
        self._connection.consumed(self._stream, len(data))
        self._connection.credit(self._stream)
        if ended:
            self._stream.owner = None
            self._connection.outbox.headers(self._stream, self._refusal.block, end=False)
            self._connection.outbox.data(self._stream, self._refusal.text, last=True)

    def cancel(self) -> None:
        """Nobody wants the answer."""

    def wake(self) -> None:
        """Nothing waits."""
