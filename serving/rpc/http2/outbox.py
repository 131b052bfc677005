"""What is to be written: frames in order, and DATA that waits for the peer's windows (RFC 9113 §5.2, §6.9)."""

from collections import deque
from collections.abc import Callable

from serving.rpc.http2 import frames
from serving.rpc.http2.limits import MIN_FRAME, PROTOCOL_WINDOW
from serving.rpc.http2.streams import Happening, State, Stream


class Outbox:
    """`ended` is told of a stream whose response is written whole, `drained` of one whose queue the peer emptied."""

    def __init__(self, ended: Callable[[Stream], None], drained: Callable[[Stream], None]) -> None:
        self.chunks: list[bytes] = []
        """Frames that may be written now; Connection.take empties it."""
        self.window = PROTOCOL_WINDOW
        self.stream_window = PROTOCOL_WINDOW
        """What the peer gives each new stream."""
        self.frame_bytes = MIN_FRAME
        self.queued = 0
        """Bytes that wait for windows, of all streams."""
        self.taken = 0
        """Bytes that windows let out after they were queued, or as they were, ever."""
        self._ended = ended
        self._drained = drained
        self._waiting: deque[Stream] = deque()

    def claim(self, size: int) -> bool:
        """Take the windows of a new stream for so much DATA in one frame; True = append its frames to `chunks`.

        False: it does not fit; send in the usual way, which waits.
        """
        if size > self.window or size > self.stream_window or size > self.frame_bytes:
            return False
        self.window -= size
        return True

    def claim_of(self, stream: Stream, size: int) -> bool:
        """As `claim`, for a stream that is kept; then `closed`."""
        if size > self.window or size > stream.window or size > self.frame_bytes or stream.pending:
            return False
        self.window -= size
        stream.window -= size
        return True

    def closed(self, stream: Stream) -> None:
        """A whole response was appended to `chunks`."""
        self._end(stream)

    def headers(self, stream: Stream, block: bytes, *, end: bool) -> None:
        """Send a header block; header blocks wait for no window."""
        self.chunks.append(frames.headers(stream.id, block, end=end, frame_bytes=self.frame_bytes))
        if end:
            self._end(stream)

    def data(self, stream: Stream, data: bytes, *, last: bool = False) -> None:
        """Send, or queue, bytes of the response; `last` = they end it, without trailers."""
        if last:
            stream.closing = b""
        if data:
            stream.pending.append(memoryview(data))
            stream.queued += len(data)
            self.queued += len(data)
        self._send(stream, told=True)

    def close(self, stream: Stream, block: bytes) -> None:
        """End the response with trailers, or without (an empty block), once all that is queued is sent."""
        stream.closing = block
        self._send(stream)

    def opened(self) -> None:
        """Send what waited for the connection's window: a frame of each stream in turn, so that none starves."""
        while self._waiting and self.window > 0:
            stream = self._waiting.popleft()
            stream.waiting = False
            self._send(stream, turns=1)

    def stream_opened(self, stream: Stream) -> None:
        """Send what waited for the stream's window."""
        if stream.pending:
            self._send(stream)

    def forget(self, stream: Stream) -> None:
        """Drop what is queued of a stream that was reset."""
        stream.pending.clear()
        self.queued -= stream.queued
        stream.queued = 0
        stream.closing = None
        if stream.waiting:
            self._waiting.remove(stream)
            stream.waiting = False

    def _send(self, stream: Stream, turns: int = 1 << 30, *, told: bool = False) -> None:
        """`told`: who sends sees by itself that all of it went out."""
        pending, was_queued = stream.pending, stream.queued
        while pending and turns:
            size = min(len(pending[0]), stream.window, self.window, self.frame_bytes)
            if size <= 0:
                break
            self._frame(stream, size)
            turns -= 1
        if pending:
            if stream.window > 0 and not stream.waiting:
                self._waiting.append(stream)
                stream.waiting = True
        elif stream.closing is not None:
            if stream.closing:
                self.headers(stream, stream.closing, end=True)
            else:
                self.chunks.append(frames.data_header(0, frames.END_STREAM, stream.id))
                self._end(stream)
        elif was_queued and not told and stream.state is not State.CLOSED:
            self._drained(stream)

    def _frame(self, stream: Stream, size: int) -> None:
        first = stream.pending[0]
        if size == len(first):
            stream.pending.popleft()
        else:
            stream.pending[0] = first[size:]
        stream.queued -= size
        self.queued -= size
        self.taken += size
        stream.window -= size
        self.window -= size
        last = stream.closing == b"" and not stream.pending
        self.chunks += (frames.data_header(size, frames.END_STREAM if last else 0, stream.id), bytes(first[:size]))
        if last:
            self._end(stream)

    def _end(self, stream: Stream) -> None:
        stream.move(Happening.SENT_END)
        stream.closing = None
        self._ended(stream)
