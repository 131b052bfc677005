"""What comes of a read: complete requests are answered at once where that needs no waiting, the rest become calls."""

import time
from collections.abc import Callable

from serving.errors import NearlineError
from serving.rpc.errors import Code, StatusError, judge
from serving.rpc.http2 import frames
from serving.rpc.http2.blocks import HeaderBlocks
from serving.rpc.http2.connection import Connection
from serving.rpc.http2.events import Event, Opened, Ponged, Received, Reset, Struck, Writable
from serving.rpc.http2.hpack import best_decoder
from serving.rpc.http2.streams import State
from serving.rpc.native import answers
from serving.rpc.native.call import RunningCall
from serving.rpc.native.declined import Declined
from serving.rpc.native.head import Head
from serving.rpc.native.heads import HeadReader
from serving.rpc.native.house import House
from serving.rpc.native.party import Party
from serving.rpc.native.pending import Pending
from serving.rpc.native.quick import Quick
from serving.rpc.native.routes import Route

TOO_FULL = "server: too many bytes wait to be read or sent"

_make_decoder = best_decoder()


class Exchange:
    """One connection's calls. `flush_soon`, and how much is `unwritten`, are the socket's part."""

    def __init__(
        self,
        house: House,
        read_head: HeadReader,
        flush_soon: Callable[[], None],
        unwritten: Callable[[], int] = lambda: 0,
    ) -> None:
        limits = house.limits.connection
        decoder = _make_decoder(limits.header_table_bytes, limits.header_list_bytes)
        self.connection = Connection(limits, HeaderBlocks(decoder, read_head))
        self.calls: set[RunningCall | Pending | Party] = set()
        self.paused = False
        self.compress_bytes = house.limits.compress_bytes
        self.flush_soon = flush_soon
        self.deadlines = house.deadlines
        self.pinged = b""
        """With what our PING went out; empty = there was none."""
        self.ponged = False
        """Whether the peer answered our PING, and so has read what came before it."""
        self._unwritten = unwritten
        self._house = house
        self._quick = Quick(self, house)
        self._accounted = 0
        self._lost = False

    def read(self, data: bytes, began: float) -> None:
        """Handle what was read at a time; what is to be written is in the connection's outbox afterwards."""
        events, complete = self.connection.receive(data)
        for event in events:
            self._on(event, began)
        if complete:
            for stream_id in self._quick.answer(complete, began):
                head, body, _ = complete[stream_id]
                self.later(stream_id, head.whole(), body, began)
        connection = self.connection
        if connection.closed:
            self.cancel_all()
        if connection.session.buffered + connection.outbox.queued != self._accounted:
            self.account()

    def account(self) -> None:
        """Tell the process how much this connection holds."""
        session = self.connection.session
        held = 0 if self._lost else session.buffered + session.outbox.queued
        if self.paused and not self._lost:
            held += self._unwritten()
        if held != self._accounted:
            self._house.buffered += held - self._accounted
            self._accounted = held

    def lost(self) -> None:
        """The connection is gone: nothing is held for it, whatever handlers still take of it."""
        self._lost = True
        self.cancel_all()
        self.account()

    def check_taken(self, size: int) -> None:
        """See Host."""
        chunks, queued = self.connection.outbox.chunks, self.connection.outbox.queued
        if not (self.paused or queued):
            return
        self.account()
        limit = self._house.limits.connection.buffered_bytes
        if self._accounted + sum(map(len, chunks)) + size > limit:
            self._house.strike("buffered_bytes")
            raise StatusError(Code.RESOURCE_EXHAUSTED, f"connection: expected at most {limit} bytes that are not taken")
        if self._house.full():
            raise StatusError(Code.RESOURCE_EXHAUSTED, TOO_FULL)

    def admit(self, timeout: float | None, *, streaming: bool) -> None:
        """See Host."""
        self._house.admit(timeout, streaming=streaming)

    def strike(self, limit: str) -> None:
        """See Host."""
        self._house.strike(limit)

    def ended(self, call: RunningCall | Pending, *, admitted: bool, streaming: bool = False) -> None:
        """See Host."""
        self.calls.discard(call)
        if admitted:
            self._house.ended(streaming=streaming)

    def freed(self, calls: int) -> None:
        """See Host."""
        self._house.ended(calls, streaming=False)

    def refuse(self, stream_id: int, route: Route, error: Exception, began: float) -> None:
        """See Host."""
        code, message, details = judge(route.path, error)
        outbox, block = self.connection.outbox, answers.refusal(code, message, details)
        stream = self.connection.streams.get(stream_id)
        if stream is None:  # whole in this read, and so no stream is needed for its end
            outbox.chunks.append(frames.headers(stream_id, block, end=True, frame_bytes=outbox.frame_bytes))
        else:
            outbox.headers(stream, block, end=True)
        route.tally.add(code.name, time.monotonic() - began)

    def cancel_all(self) -> None:
        """The peer is gone."""
        for call in tuple(self.calls):
            call.cancel()

    def fail_all(self, error: NearlineError) -> None:
        """End what runs, with a status."""
        for call in tuple(self.calls):
            call.fail(error)

    def wake_all(self) -> None:
        """The socket takes more."""
        for call in tuple(self.calls):
            call.wake()

    def _on(self, event: Event, began: float) -> None:
        if isinstance(event, Opened):
            self._open(event.stream.id, event.head.whole(), began)
        elif isinstance(event, Ponged):
            self.ponged = self.ponged or event.payload == self.pinged
            return
        elif isinstance(event, Struck):
            self._house.strike(event.limit)
            return
        call: RunningCall | Pending | Party | Declined | None = event.stream.owner
        if call is None or (event.stream.state is State.CLOSED and not isinstance(event, Reset)):
            return  # a Reset of the same read follows, and nothing may be sent any more
        match event:
            case Received(_, data, ended):
                call.received(data, ended=ended)
            case Opened(_, _, True):
                call.received(b"", ended=True)
            case Reset() if isinstance(call, Party):
                call.give_up(event.stream.id)
            case Reset():
                call.cancel()
            case Writable():
                call.wake()

    def later(self, stream_id: int, head: Head, body: bytes, began: float) -> None:
        """See Host."""
        stream = self.connection.adopt(stream_id)
        stream.owner = None
        self._open(stream_id, head, began)
        if stream.owner is not None:
            stream.owner.received(body, ended=True)

    def _open(self, stream_id: int, head: Head, began: float) -> None:
        """Begin a call, or refuse it before anything is done for it."""
        stream = self.connection.session.find(stream_id)
        if stream is None:
            return  # reset in the same read
        outbox, route = self.connection.outbox, head.route
        if head.refusal is not None:
            tally = self._house.unknown if route is None else route.tally
            tally.add(head.refusal.code.name, 0.0)
            if head.refusal.text:
                stream.owner = Declined(self.connection, stream, head.refusal)
            else:
                outbox.headers(stream, head.refusal.block, end=True)
        if head.refusal is not None or route is None:
            return
        if head.timeout is not None and head.timeout <= 0:
            self.refuse(stream_id, route, StatusError(Code.DEADLINE_EXCEEDED, "deadline exceeded"), began)
            return
        if self._house.full():
            self.refuse(stream_id, route, StatusError(Code.RESOURCE_EXHAUSTED, TOO_FULL), began)
            return
        stream.owner = call = RunningCall(self, stream, head, route, self._house.max_message_bytes, began)
        self.calls.add(call)
        call.begin()
