"""What a client sends in one call: one message, or those that a streaming handler takes one by one."""

from google.protobuf.message import Message

from serving.rpc.errors import Code, StatusError
from serving.rpc.http2.streams import State, Stream
from serving.rpc.native.head import Head
from serving.rpc.native.host import Host
from serving.rpc.native.incoming import Incoming
from serving.rpc.native.messages import MESSAGE_BYTES, PREFIX, Framed, Messages
from serving.rpc.native.routes import Route


class Request:
    """Of one call. `incoming`: what the handler of a streaming method takes messages from; else None."""

    __slots__ = ("_host", "_messages", "_route", "_stream", "_whole", "incoming")

    def __init__(self, host: Host, stream: Stream, head: Head, route: Route, most: int) -> None:
        self._host = host
        self._stream = stream
        self._route = route
        self._messages = Messages(most, head.encoding)
        self._whole: list[Framed] = []
        self.incoming = None if route.unary else Incoming(self._decode, self._taken)

    @property
    def hungry(self) -> bool:
        """Whether it is the peer, and not the handler, that what came waits for, unless the request is whole."""
        return self.incoming is None or self.incoming.hungry

    @property
    def waits(self) -> bool:
        """Whether something has begun that only the peer can go on with, unless the request is whole.

        Between its messages a stream may be silent; where there is but one message, it has begun with its headers.
        """
        begun = self._stream.held > 0 or self._route.unary or (self._route.one and not self._stream.received)
        return begun and self.hungry

    def take(self, data: bytes, *, ended: bool) -> bytes | None:
        """Take bytes; return the message of a unary request that is whole now. StatusError."""
        messages = self._messages.feed(data)
        if ended and self._messages.partial:
            raise StatusError(Code.INTERNAL, "message: expected as many bytes as its prefix says")
        if self.incoming is not None:
            if messages and not self._host.connection.hold(self._stream, len(messages) * MESSAGE_BYTES):
                self._host.strike("buffered_bytes")
                raise StatusError(Code.RESOURCE_EXHAUSTED, "request: too many messages wait for the handler")
            self.incoming.put(messages, ended=ended)
            return None
        self._whole += messages
        if len(self._whole) > 1 or (ended and not self._whole):
            raise StatusError(Code.INTERNAL, f"request: expected one message, got {len(self._whole)}")
        return self._messages.plain(self._whole[0]) if ended else None

    def credit(self) -> None:
        """Let the peer send more, unless it is the handler's turn."""
        if self.hungry:
            self._host.connection.credit(self._stream)

    def _decode(self, framed: Framed) -> Message:
        return self._route.decode(self._messages.plain(framed))

    def _taken(self, size: int, hungry: bool) -> None:
        connection = self._host.connection
        connection.consumed(self._stream, size + PREFIX.size + MESSAGE_BYTES)
        if hungry and self._stream.state is State.OPEN:
            connection.credit(self._stream)
            self._host.flush_soon()
