"""The layer above a connection, made of the real reading of heads and messages, that follows a script."""

from typing import Any

from serving.rpc.errors import Code, StatusError
from serving.rpc.http2.codes import ErrorCode
from serving.rpc.http2.connection import Connection
from serving.rpc.http2.events import Event, Opened, Received, Reset
from serving.rpc.http2.session import Complete
from serving.rpc.http2.streams import State, Stream
from serving.rpc.native import answers
from serving.rpc.native.head import Head
from serving.rpc.native.messages import PREFIX, Messages

_MOST = 1000
_SIZES = (0, 10, 70_000)


class Server:
    """`script` chooses what becomes of each stream; None = nothing: all are kept and what they say is remembered."""

    def __init__(self, connection: Connection, script: int | None = None) -> None:
        self._connection = connection
        self._script = script
        self._said: dict[Stream, tuple[Head, bytearray]] = {}

    def serve(self, events: list[Event], complete: Complete) -> None:
        """Take what one read gave."""
        for event in events:
            match event:
                case Opened(stream, head, _):
                    self._begin(stream, head.whole())
                case Received(stream, data, ended) if stream.state is not State.CLOSED:
                    self._take(stream, data, ended=ended)
                case Reset(stream, _):
                    assert stream.state is State.CLOSED
                    self._said.pop(stream, None)
                case _:
                    pass
        for stream_id, (head, body, _) in tuple(complete.items()):
            if self._script is None or stream_id + self._script & 2 or not self._at_once(stream_id):
                stream = self._connection.adopt(stream_id)
                self._begin(stream, head.whole())
                self._take(stream, body, ended=True)

    def heard(self) -> dict[int, tuple[Any, ...]]:
        """By stream that is still kept: what was asked, said, and how it stands."""
        return {
            stream.id: (_asked(head), bytes(said), stream.state, stream.window)
            for stream, (head, said) in self._said.items()
            if stream.state is not State.CLOSED
        }

    def _at_once(self, stream_id: int) -> bool:
        outbox = self._connection.outbox
        if stream_id in self._connection.streams or not outbox.claim(PREFIX.size):
            return False
        outbox.chunks.append(answers.whole(stream_id, answers.pieces(b"")))
        return True

    def _begin(self, stream: Stream, head: Head) -> None:
        if stream.state is State.CLOSED:
            return  # reset in the same read
        self._said[stream] = head, bytearray()
        stream.owner = Messages(_MOST, head.encoding)
        if self._script is None:
            return
        if head.refusal is not None:
            self._connection.outbox.headers(stream, head.refusal.block, end=True)
        elif (self._script >> 2) + stream.id // 2 & 3 == 0:
            self._answer(stream)

    def _take(self, stream: Stream, data: bytes, *, ended: bool) -> None:
        if stream.owner is None:
            return
        self._said[stream][1].extend(data)
        if self._script is None:
            return
        try:
            for framed in stream.owner.feed(data):
                stream.owner.plain(framed)
        except StatusError as error:
            stream.owner = None
            if stream.state in {State.OPEN, State.HALF_CLOSED_REMOTE} and stream.closing is None:
                self._connection.outbox.close(stream, answers.refusal(error.code, error.message))
            return
        if self._script & 16:
            self._connection.consumed(stream, len(data))
            self._connection.credit(stream)
        if ended and stream.closing is None and stream.state is State.HALF_CLOSED_REMOTE:
            self._answer(stream)

    def _answer(self, stream: Stream) -> None:
        """An answer of some size, with trailers, without, or a reset."""
        assert self._script is not None
        outbox, way = self._connection.outbox, (self._script >> 5) + stream.id // 2
        if way % 4 == 0:
            self._connection.reset(stream, ErrorCode.CANCEL)
            return
        outbox.headers(stream, answers.OPENING, end=False)
        data = bytes(_SIZES[way % len(_SIZES)])
        outbox.data(stream, data, last=way % 4 == 1)
        if way % 4 > 1:
            outbox.close(stream, answers.closing(Code.OK))


def _asked(head: Head) -> tuple[Any, ...]:
    refusal = head.refusal and (head.refusal.block, head.refusal.text, head.refusal.code)
    return refusal, head.route, head.timeout, head.encoding, head.accepts, head.call, head.traces
