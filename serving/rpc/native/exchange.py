"""What comes of a read: complete requests are answered at once where that needs no waiting, the rest become calls."""

import time
from collections.abc import Callable

import structlog

from serving.errors import NearlineError
from serving.rpc.errors import Code, StatusError, judge
from serving.rpc.http2.blocks import HeaderBlocks
from serving.rpc.http2.connection import Connection
from serving.rpc.http2.events import Event, Opened, Ponged, Received, Reset, Struck, Writable
from serving.rpc.http2.hpack import best_decoder
from serving.rpc.http2.session import Complete
from serving.rpc.http2.streams import State
from serving.rpc.method import Now, Soon
from serving.rpc.native import answers
from serving.rpc.native.call import RunningCall
from serving.rpc.native.declined import Declined
from serving.rpc.native.heads import Head, HeadReader
from serving.rpc.native.house import House
from serving.rpc.native.messages import PREFIX
from serving.rpc.native.pending import Pending
from serving.rpc.native.routes import Route

log = structlog.get_logger()

_PREFIX_BYTES = PREFIX.size
_SHORT = 1 << 10
_PREFIX_OF = [b"", *(PREFIX.pack(0, max(size - _PREFIX_BYTES, 0)) for size in range(1, _SHORT))]
"""By the length of a DATA frame, how it begins if it is one message, not compressed."""
_make_decoder = best_decoder()


class Exchange:
    """One connection's calls. `flush_soon` is the socket's part."""

    def __init__(self, house: House, read_head: HeadReader, flush_soon: Callable[[], None]) -> None:
        limits = house.limits.connection
        decoder = _make_decoder(limits.header_table_bytes, limits.header_list_bytes)
        self.connection = Connection(limits, HeaderBlocks(decoder, read_head))
        self.calls: set[RunningCall | Pending] = set()
        self.paused = False
        self.compress_bytes = house.limits.compress_bytes
        self.flush_soon = flush_soon
        self.ponged = False
        """Whether the peer answered our PING, and so has read what came before it."""
        self._house = house
        self._accounted = 0

    def read(self, data: bytes, began: float) -> None:
        """Handle what was read at a time; what is to be written is in the connection's outbox afterwards."""
        events, complete = self.connection.receive(data)
        for event in events:
            self._on(event, began)
        if complete:
            self._answer(complete, began)
        if self.connection.closed:
            self.cancel_all()
        self.account()

    def account(self) -> None:
        """Tell the process how much this connection holds."""
        session = self.connection.session
        held = session.buffered + session.outbox.queued
        if held != self._accounted:
            self._house.buffered += held - self._accounted
            self._accounted = held

    def admit(self) -> None:
        """See Host."""
        self._house.admit()

    def ended(self, call: RunningCall | Pending, *, admitted: bool) -> None:
        """See Host."""
        self.calls.discard(call)
        self._house.running -= admitted

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
            self.ponged = True
            return
        elif isinstance(event, Struck):
            self._house.strike(event.limit)
            return
        call: RunningCall | Pending | Declined | None = event.stream.owner
        if call is None or (event.stream.state is State.CLOSED and not isinstance(event, Reset)):
            return  # a Reset of the same read follows, and nothing may be sent any more
        match event:
            case Received(_, data, ended):
                call.received(data, ended=ended)
            case Opened(_, _, True):
                call.received(b"", ended=True)
            case Reset():
                call.cancel()
            case Writable():
                call.wake()

    def _answer(self, complete: Complete, began: float) -> None:
        """The path of nearly every request: no task, no stream, no metric of its own."""
        later: list[int] = []
        asked: dict[Route, tuple[list[int], list[bytes]]] = {}
        last: Route | None = None
        streams = self.connection.streams
        for stream_id, (head, body, _) in complete.items():
            route, size = head.quick, len(body)
            if (
                route is None
                or size >= _SHORT
                or body[:_PREFIX_BYTES] != _PREFIX_OF[size]
                or (streams and stream_id in streams)
            ):
                later.append(stream_id)
                continue
            if route is not last:
                last = route
                ids, messages = asked.setdefault(route, ([], []))
            ids.append(stream_id)
            messages.append(body[_PREFIX_BYTES:])
        for route, (ids, messages) in asked.items():
            if self.compress_bytes:
                later += ids
                continue
            left = ids if route.now is None else self._now(route, route.now, ids, messages, began)
            if route.soon is None:
                later += left
                continue
            for stream_id in left:
                head, body, _ = complete[stream_id]
                self._soon(route, route.soon, stream_id, head.whole(), body[_PREFIX_BYTES:], began)
        for stream_id in later:
            head, body, _ = complete[stream_id]
            self._later(stream_id, head.whole(), body, began)

    def _now(self, route: Route, now: Now, ids: list[int], messages: list[bytes], began: float) -> list[int]:
        """Write the answers that there are; return the streams of the others, or of those beyond a window."""
        outbox, later = self.connection.outbox, []
        chunks, claim = outbox.chunks, outbox.claim
        try:
            found = now(messages)
        except Exception:
            log.exception("rpc.defect", method=route.path)
            return ids
        for stream_id, ready in zip(ids, found, strict=True):
            if ready is None or not claim(len(ready.message) + _PREFIX_BYTES):
                later.append(stream_id)
                continue
            if not ready.carried:
                ready.carried = answers.pieces(ready.message)
            chunks.append(answers.whole(stream_id, ready.carried))
        if len(later) < len(ids):
            route.tally.add("OK", time.monotonic() - began, len(ids) - len(later))
        return later

    def _soon(self, route: Route, soon: Soon, stream_id: int, head: Head, message: bytes, began: float) -> None:
        """Let the handler begin; a call of which there is nothing but its request needs no task to wait."""
        if head.refusal is not None or self._house.full():
            self._later(stream_id, head, PREFIX.pack(0, len(message)) + message, began)
            return
        try:
            self._house.admit()
        except StatusError as error:
            self._failed(stream_id, route, error, began)
            return
        stream = self.connection.adopt(stream_id)
        stream.owner = pending = Pending(self, stream, route, began, head.timeout)
        self.calls.add(pending)
        call = head.call if head.timeout is None and not head.traces else head.call_at(began, None)
        try:
            abandon = soon(message, call, pending)
            if abandon is not None:
                pending.begun(abandon)
            else:
                pending.withdraw()
                self._later(stream_id, head, PREFIX.pack(0, len(message)) + message, began)
        except Exception as error:  # noqa: BLE001 - every error becomes a status
            pending.fail(error)

    def _failed(self, stream_id: int, route: Route, error: Exception, began: float) -> None:
        code, message = judge(route.path, error)
        details = error.details if isinstance(error, StatusError) else b""
        stream = self.connection.adopt(stream_id)
        self.connection.outbox.headers(stream, answers.refusal(code, message, details), end=True)
        route.tally.add(code.name, time.monotonic() - began)

    def _later(self, stream_id: int, head: Head, body: bytes, began: float) -> None:
        stream = self.connection.adopt(stream_id)
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
            if route is not None:
                route.tally.add(head.refusal.code.name, 0.0)
            if head.refusal.text:
                stream.owner = Declined(self.connection, stream, head.refusal)
            else:
                outbox.headers(stream, head.refusal.block, end=True)
        if head.refusal is not None or route is None:
            return
        if head.timeout is not None and head.timeout <= 0:
            self._failed(stream_id, route, StatusError(Code.DEADLINE_EXCEEDED, "deadline exceeded"), began)
            return
        if self._house.full():
            words = "server: too many bytes wait to be read or sent"
            self._failed(stream_id, route, StatusError(Code.RESOURCE_EXHAUSTED, words), began)
            return
        stream.owner = call = RunningCall(self, stream, head, route, self._house.max_message_bytes, began)
        self.calls.add(call)
        call.begin()
