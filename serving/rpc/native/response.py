"""What a handler sends on one stream: the opening block, messages, and the status that ends it."""

from serving.rpc.errors import Code, judge
from serving.rpc.http2.streams import Stream
from serving.rpc.method import Outgoing
from serving.rpc.native import answers
from serving.rpc.native.head import Head
from serving.rpc.native.host import Host
from serving.rpc.native.messages import PREFIX, compress


class Response:
    """Of one call. `outgoing`: the metadata that its handler wants to be sent."""

    __slots__ = ("_compresses", "_host", "_opened", "_stream", "outgoing")

    def __init__(self, host: Host, stream: Stream, head: Head) -> None:
        self.outgoing = Outgoing()
        self._host = host
        self._stream = stream
        self._compresses = host.compress_bytes > 0 and b"gzip" in head.accepts
        self._opened = False

    @property
    def queued(self) -> int:
        """Bytes that wait for the peer."""
        return self._stream.queued

    def send(self, message: bytes) -> int:
        """Send a message; return its bytes."""
        outbox, flag = self._host.connection.outbox, 0
        if self._compresses and len(message) >= self._host.compress_bytes:
            message, flag = compress(message, b"gzip"), 1
        if not self._opened:
            # The encoding stands in the first block, so a stream that begins small says so, too.
            named = b"gzip" if self._compresses else b""
            outbox.headers(self._stream, answers.opening(self.outgoing.initial, named), end=False)
            self._opened = True
        outbox.data(self._stream, PREFIX.pack(flag, len(message)) + message)
        self._host.flush_soon()
        return len(message)

    def last_blocks(self, path: str, code: Code, message: str, details: bytes) -> tuple[Code, bytes, bytes]:
        """Return the status, which metadata that cannot be sent makes another one, and the blocks that are missing."""
        try:
            return code, *self._blocks(code, message, details)
        except ValueError as error:
            self.outgoing = Outgoing()
            code, message, details = judge(path, error)
            return code, *self._blocks(code, message, details)

    def end(self, opening: bytes, closing: bytes) -> None:
        """Send the last blocks."""
        outbox = self._host.connection.outbox
        if opening:
            outbox.headers(self._stream, opening, end=False)
        outbox.close(self._stream, closing)
        self._host.flush_soon()

    def _blocks(self, code: Code, message: str, details: bytes) -> tuple[bytes, bytes]:
        initial, trailing = self.outgoing.initial, self.outgoing.trailing
        if self._opened:
            return b"", answers.closing(code, message, details, trailing)
        if code is Code.OK:
            return answers.opening(initial), answers.closing(code, message, details, trailing)
        return b"", answers.refusal(code, message, details, (*initial, *trailing))
