"""What the handlers of frames share: the streams, the windows and the allowances of one connection."""

from typing import Any

from serving.rpc.http2 import frames
from serving.rpc.http2.blocks import HeaderBlocks
from serving.rpc.http2.codes import ConnectionFault, ErrorCode, StreamFault
from serving.rpc.http2.events import Event, Reset, Struck, Writable
from serving.rpc.http2.floods import Allowance, Honest
from serving.rpc.http2.limits import PROTOCOL_WINDOW, ConnectionLimits
from serving.rpc.http2.outbox import Outbox
from serving.rpc.http2.streams import Happening, State, Stream

_REMEMBERED = 1_000
_RESETS = 0.1
"""Of the calls that a peer makes, this share may be reset, for however long: deadlines end some of many."""

Complete = dict[int, tuple[Any, bytes, int]]
"""By stream: head, content, and what the peer added to the stream's window."""


class PartialBlock:
    """A header block of which CONTINUATION is still to come (RFC 9113 §6.10)."""

    __slots__ = ("block", "count", "end", "fault", "stream_id")

    def __init__(self, stream_id: int, block: bytes, *, end: bool, fault: StreamFault | None) -> None:
        self.stream_id = stream_id
        self.block = block
        self.end = end
        self.fault = fault
        self.count = 0


class Session:
    """State of one connection; no rules but those of bookkeeping."""

    def __init__(self, limits: ConnectionLimits, blocks: HeaderBlocks) -> None:
        self.limits = limits
        self.most_block = min(limits.frame_bytes, limits.header_list_bytes)
        """Bytes of a header block in one frame."""
        self.blocks = blocks
        self.events: list[Event] = []
        self.outbox = Outbox(self._ended, self._drained)
        self.streams: dict[int, Stream] = {}
        self.complete: Complete = {}
        """Requests that were whole in this read."""
        self.kept: dict[int, tuple[Any, int]] = {}
        """Those of former reads that are answered later, and are no streams as long as nothing happens to them: their
        owner, and what the peer added to the window."""
        self.last_id = 0
        """The highest stream that the peer opened."""
        self.next_id = 1
        """The stream that it opens next, if it leaves none out."""
        self.accept_up_to = frames.STREAM_MASK
        """Streams above it are dropped unread, after GOAWAY."""
        self.partial: PartialBlock | None = None
        self.read_window = PROTOCOL_WINDOW
        self.owed = 0
        self.buffered = 0
        self.received = 0
        """Bytes that came for streams that are kept, ever."""
        self.honest = honest = Honest()
        self.resets = Allowance("resets", limits.resets_burst, limits.resets_per_s, honest, _RESETS)
        # grpc-go measures the path by a PING for nearly every answer.
        self.controls = Allowance("controls", limits.controls_burst, limits.controls_per_s, honest, 1)
        self.empties = Allowance("empties", limits.empties_burst, limits.empties_per_s, honest)
        self.updates = Allowance("updates", limits.updates_burst, limits.updates_per_s, honest, 2)
        self._skipped: list[tuple[int, int]] = []
        self._reset_here: dict[int, None] = {}

    def find(self, stream_id: int) -> Stream | None:
        """Return a stream that is not closed; one that was whole in one read becomes a Stream by being looked for."""
        stream = self.streams.get(stream_id)
        if stream is None and (stream_id in self.complete or stream_id in self.kept):
            return self.adopt(stream_id)
        return stream

    def adopt(self, stream_id: int) -> Stream:
        """Make a Stream of a request that was whole in one read."""
        stream = self.streams.get(stream_id)
        if stream is None:
            stream = self.open(stream_id, State.HALF_CLOSED_REMOTE, -1)
            kept = self.kept.pop(stream_id, None)
            if kept is not None:
                stream.owner, granted = kept
            else:
                granted = self.complete[stream_id][2]
            stream.window += granted
        return stream

    def keep(self, stream_id: int, owner: Any) -> None:
        """Keep a request that was whole in this read for somebody who answers it later."""
        if stream_id in self.streams:
            self.streams[stream_id].owner = owner
        else:
            self.kept[stream_id] = owner, self.complete[stream_id][2]

    @property
    def running(self) -> int:
        """How many requests are not answered, but for those of this read."""
        return len(self.streams) + len(self.kept)

    def open(self, stream_id: int, state: State, announced: int) -> Stream:
        """Begin to keep a stream."""
        stream = Stream(stream_id, state, self.outbox.stream_window, self.limits.stream_window, announced)
        self.streams[stream_id] = stream
        return stream

    def moved_to(self, stream_id: int) -> None:
        """The peer opened this stream, which closes those that it left out (RFC 9113 §5.1.1)."""
        if stream_id > self.next_id:
            self._skipped.append((self.next_id, stream_id - 2))
            del self._skipped[:-_REMEMBERED]
        self.last_id, self.next_id = stream_id, stream_id + 2

    def closed(self, stream_id: int) -> bool:
        """Judge a frame of a stream that is not kept: True = expected, since we reset it; else ConnectionFault."""
        if stream_id > self.last_id or any(first <= stream_id <= last for first, last in self._skipped):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"stream {stream_id}: expected one that was opened")
        if stream_id in self._reset_here or stream_id > self.accept_up_to:
            return True
        raise ConnectionFault(ErrorCode.STREAM_CLOSED, f"stream {stream_id}: expected nothing after its end")

    def reset(self, stream_id: int, code: int) -> None:
        """End a stream from our side; what is on its way is to be ignored."""
        self.outbox.chunks.append(frames.rst_stream(stream_id, code))
        self._reset_here[stream_id] = None
        if len(self._reset_here) > _REMEMBERED:
            del self._reset_here[next(iter(self._reset_here))]
        self.drop(stream_id)

    def drop(self, stream_id: int) -> Stream | None:
        """Forget a stream that was reset."""
        stream = self.find(stream_id)
        self.complete.pop(stream_id, None)
        if stream is not None:
            self.outbox.forget(stream)
            stream.move(Happening.RESET)
            self._remove(stream)
        return stream

    def fault(self, fault: StreamFault) -> None:
        """Answer a stream's fault; too many of them are a flood, too."""
        if fault.limit:
            self.events.append(Struck(fault.limit))
        stream = self.find(fault.stream_id)
        self.reset(fault.stream_id, fault.code)
        if stream is not None:
            self.events.append(Reset(stream, fault.code))
        self.resets.spend()

    def _ended(self, stream: Stream) -> None:
        if stream.state is not State.CLOSED:
            # RFC 9113 §8.1: the answer is whole before the request is; the rest of it is not wanted.
            self.reset(stream.id, ErrorCode.NO_ERROR)
        else:
            self._remove(stream)

    def _drained(self, stream: Stream) -> None:
        self.events.append(Writable(stream))

    def _remove(self, stream: Stream) -> None:
        self.streams.pop(stream.id, None)
        self.buffered -= stream.held
        stream.held = 0
