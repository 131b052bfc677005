"""An HTTP/2 server connection without I/O: bytes in, events and bytes out (RFC 9113).

A request whose HEADERS and only DATA frame lie whole in one read, as nearly every unary one does, costs no object of
its own: it is an entry of `complete`, to be answered before the next read. Everything else is an event.
"""

from typing import Any

from serving.rpc.http2 import frames
from serving.rpc.http2.blocks import HeaderBlocks
from serving.rpc.http2.codes import ConnectionFault, ErrorCode
from serving.rpc.http2.events import Event, Struck
from serving.rpc.http2.frames import STREAM_MASK
from serving.rpc.http2.limits import ConnectionLimits
from serving.rpc.http2.reading import FrameReader
from serving.rpc.http2.session import Complete, Session
from serving.rpc.http2.streams import State, Stream


class Connection:
    """The server's side of one connection. After `closed` nothing more is read; `take` gives the last words."""

    def __init__(self, limits: ConnectionLimits, blocks: HeaderBlocks) -> None:
        self.session = session = Session(limits, blocks)
        self.outbox = session.outbox
        self.streams = session.streams
        self.limits = limits
        self.closed = False
        self.fault: ConnectionFault | None = None
        self.progress = 0
        """Grows whenever a frame ends."""
        self._rest = b""
        self._reader = FrameReader(session)
        self._refill_at = limits.connection_window >> 2
        grown = limits.connection_window - session.read_window
        self.outbox.chunks.append(
            frames.settings(
                {
                    frames.HEADER_TABLE_SIZE: limits.header_table_bytes,
                    frames.MAX_CONCURRENT_STREAMS: limits.concurrent_streams,
                    frames.INITIAL_WINDOW_SIZE: limits.stream_window,
                    frames.MAX_FRAME_SIZE: limits.frame_bytes,
                    frames.MAX_HEADER_LIST_SIZE: limits.header_list_bytes,
                }
            )
        )
        if grown > 0:
            session.read_window += grown
            self.outbox.chunks.append(frames.window_update(0, grown))

    @property
    def greeted(self) -> bool:
        """Whether the preface and the peer's first SETTINGS came."""
        return self._reader.greeted

    @property
    def busy(self) -> bool:
        """Whether there are requests that are not answered."""
        return self.session.running > 0

    @property
    def unfinished(self) -> bool:
        """Whether a frame or a header block has begun and not ended: a slow peer, if it lasts."""
        return bool(self._rest) or self.session.partial is not None or not self._reader.greeted

    def receive(self, data: bytes) -> tuple[list[Event], Complete]:
        """Return the events and the complete requests of what was read; the latter are to be answered or adopted."""
        session = self.session
        events: list[Event] = []
        complete: Complete = {}
        session.events, session.complete = events, complete
        if self.closed:
            return events, complete
        if self._rest:
            data = self._rest + data
        try:
            position = self._reader.read(data)
            self._rest = data[position:]
            self.progress += position > 0
            if session.read_window < 0 or session.owed >= self._refill_at:
                self._refill()
            if complete:
                session.honest.calls += len(complete)
        except ConnectionFault as fault:
            if fault.limit:
                events.append(Struck(fault.limit))
            complete.clear()
            self.fail(fault)
        return events, complete

    def _refill(self) -> None:
        """Give the peer's connection window back in few and large steps."""
        session = self.session
        if session.read_window < 0:
            raise ConnectionFault(
                ErrorCode.FLOW_CONTROL_ERROR, "DATA beyond the connection's window", limit="connection_window"
            )
        self.outbox.chunks.append(frames.window_update(0, session.owed))
        session.read_window += session.owed
        session.owed = 0

    def adopt(self, stream_id: int) -> Stream:
        """Make a stream of a complete request that is not answered at once."""
        return self.session.adopt(stream_id)

    def keep(self, stream_id: int, owner: Any) -> None:
        """Let a complete request be answered later; `owner` is told what happens to it, as a stream's is."""
        self.session.keep(stream_id, owner)

    def hold(self, stream: Stream, size: int) -> bool:
        """Hold so many bytes more for this stream than it received, until they are `consumed`; False = no room."""
        if self.session.buffered + self.outbox.queued + size > self.limits.buffered_bytes:
            return False
        stream.held += size
        self.session.buffered += size
        return True

    def consumed(self, stream: Stream, size: int) -> None:
        """So many bytes of Received are not held any more."""
        size = min(size, stream.held)
        stream.held -= size
        self.session.buffered -= size

    def credit(self, stream: Stream) -> None:
        """Let the peer send again what it has sent on this stream, once that is worth a frame."""
        if stream.owed >= self.limits.stream_window >> 2 and stream.state in {State.OPEN, State.HALF_CLOSED_LOCAL}:
            self.outbox.chunks.append(frames.window_update(stream.id, stream.owed))
            stream.read_window += stream.owed
            stream.owed = 0

    def reset(self, stream: Stream, code: ErrorCode) -> None:
        """End a stream without a response."""
        if stream.state is not State.CLOSED:
            self.session.reset(stream.id, code)

    def ping(self, payload: bytes) -> None:
        """Send PING; Ponged answers it."""
        self.outbox.chunks.append(frames.frame(frames.PING, 0, 0, payload))

    def warn(self) -> None:
        """Announce the end: what is on its way is still taken (RFC 9113 §6.8, the first of two GOAWAY)."""
        self.outbox.chunks.append(frames.goaway(STREAM_MASK, ErrorCode.NO_ERROR))

    def refuse(self) -> None:
        """Take no new streams from now on: the second GOAWAY."""
        self.session.accept_up_to = self.session.last_id
        self.outbox.chunks.append(frames.goaway(self.session.last_id, ErrorCode.NO_ERROR))

    def fail(self, fault: ConnectionFault) -> None:
        """Say why, and read nothing more."""
        self.closed, self.fault, self._rest = True, fault, b""
        self.outbox.chunks.append(frames.goaway(self.session.last_id, fault.code, fault.words))

    def take(self) -> bytes:
        """Return what is to be written."""
        chunks = self.outbox.chunks
        if not chunks:
            return b""
        data = b"".join(chunks)
        chunks.clear()
        return data
