"""One call that a handler works on: its task, its deadline, its messages in and out, and its one end."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Protocol

from google.protobuf.message import Message

from serving.rpc.errors import Code, StatusError, judge
from serving.rpc.http2.connection import Connection
from serving.rpc.http2.streams import State, Stream
from serving.rpc.method import Call, Outgoing, Reply
from serving.rpc.native import answers
from serving.rpc.native.heads import Head
from serving.rpc.native.incoming import Incoming
from serving.rpc.native.messages import PREFIX, Framed, Messages, compress
from serving.rpc.native.routes import Route, encode

_QUEUED = 256 << 10
"""Bytes of a stream that may wait for the peer before its handler does."""


class Host(Protocol):
    """The connection as its calls see it."""

    connection: Connection
    compress_bytes: int
    paused: bool
    """The socket takes nothing more just now."""

    def flush_soon(self) -> None:
        """Write what is in the outbox, with whatever else this tick adds."""
        ...

    def admit(self) -> None:
        """Take a place among the calls that run; StatusError."""
        ...

    def ended(self, call: Any, *, admitted: bool) -> None:
        """A call came to its end."""
        ...


class RunningCall:
    """From its head to its status. Every way to end it goes through `finish`, which does so once."""

    def __init__(self, host: Host, stream: Stream, head: Head, route: Route, most: int, began: float) -> None:
        self.route = route
        self.began = began
        self._host = host
        self._stream = stream
        self._head = head
        self._messages = Messages(most, head.encoding)
        self._whole: list[Framed] = []
        self._incoming: Incoming | None = None
        self._outgoing = Outgoing()
        self._opened = False
        self._done = False
        self._task: asyncio.Task[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        if head.timeout is not None:
            self._timer = asyncio.get_running_loop().call_later(head.timeout, self._expire)
        self._admitted = False

    def begin(self) -> None:
        """Start a streaming handler; a unary one waits for its request."""
        if self.route.unary:
            return
        self._incoming = Incoming(self._decode, self._taken)
        try:
            self._start(self._stream_replies, self._incoming)
        except StatusError as error:
            self.fail(error)

    def received(self, data: bytes, *, ended: bool) -> None:
        """Take bytes of the request."""
        if self._done:
            return
        try:
            messages = self._messages.feed(data)
            if ended and self._messages.partial:
                raise StatusError(Code.INTERNAL, "message: expected as many bytes as its prefix says")
            if self._incoming is not None:
                self._incoming.put(messages, ended=ended)
            else:
                self._one(messages, ended=ended)
        except Exception as error:  # noqa: BLE001 - every error becomes a status
            self.fail(error)
            return
        if self._stream.owner is None:
            return  # answered already
        if self.hungry:
            self._host.connection.credit(self._stream)

    @property
    def hungry(self) -> bool:
        """Whether it is the peer, and not the handler, that what came waits for, unless the request is whole."""
        return self._incoming is None or self._incoming.hungry

    def _decode(self, framed: Framed) -> Message:
        return self.route.decode(self._messages.plain(framed))

    def _one(self, messages: list[Framed], *, ended: bool) -> None:
        self._whole += messages
        if len(self._whole) > 1 or (ended and not self._whole):
            raise StatusError(Code.INTERNAL, f"request: expected one message, got {len(self._whole)}")
        if ended:
            self._answer(self._messages.plain(self._whole[0]))

    def _answer(self, message: bytes) -> None:
        (ready,) = (None,) if self.route.now is None else self.route.now((message,))
        if ready is None:
            self._start(self._unary_reply, message)
            return
        self._send(ready.message)
        self.finish(Code.OK)

    def _start(self, work: Callable[[Any], Coroutine[Any, Any, None]], requests: object) -> None:
        self._host.admit()
        self._admitted = True
        self._task = asyncio.get_running_loop().create_task(work(requests))

    def _call(self) -> Call:
        return self._head.call_at(self.began, self._outgoing)

    async def _unary_reply(self, message: bytes) -> None:
        try:
            reply: Reply = await self.route.handler(self.route.decode(message), self._call())
            self._send(encode(reply))
            self.finish(Code.OK)
        except Exception as error:  # noqa: BLE001 - as above
            self.fail(error)
        finally:
            self._abandoned()

    async def _stream_replies(self, incoming: Incoming) -> None:
        replies: AsyncIterator[Reply] = self.route.handler(incoming, self._call())
        unwritten = 0
        try:
            async for reply in replies:
                unwritten += self._send(encode(reply))
                if unwritten > _QUEUED:
                    # A handler that never waits would keep the loop from writing, and the peer from slowing it down.
                    await asyncio.sleep(0)
                    unwritten = 0
                while self._host.paused or self._stream.queued > _QUEUED:
                    self._writable = asyncio.get_running_loop().create_future()
                    await self._writable
            self.finish(Code.OK)
        except Exception as error:  # noqa: BLE001 - as above
            self.fail(error)
        finally:
            self._abandoned()
            close = getattr(replies, "aclose", None)
            if close is not None:
                await close()

    def _abandoned(self) -> None:
        """Tell the peer of a handler that was cancelled, but not by the end of its call: by something within it."""
        if not self._done:
            self.finish(Code.CANCELLED, "the handler was cancelled")

    def _send(self, message: bytes) -> int:
        """Send a message; return its bytes."""
        if self._done:
            return 0
        outbox, encoding, flag = self._host.connection.outbox, b"", 0
        most = self._host.compress_bytes
        if most and len(message) >= most and b"gzip" in self._head.accepts:
            message, encoding, flag = compress(message, b"gzip"), b"gzip", 1
        if not self._opened:
            # The encoding stands in the first block, so a stream that begins small says so, too.
            named = b"gzip" if most and b"gzip" in self._head.accepts else encoding
            outbox.headers(self._stream, answers.opening(self._outgoing.initial, named), end=False)
            self._opened = True
        outbox.data(self._stream, PREFIX.pack(flag, len(message)) + message)
        self._host.flush_soon()
        return len(message)

    def fail(self, error: Exception) -> None:
        """End with the status of an error."""
        if not self._done:
            code, message = judge(self.route.path, error)
            self.finish(code, message, error.details if isinstance(error, StatusError) else b"")

    def finish(self, code: Code, message: str = "", details: bytes = b"") -> None:
        """End with a status."""
        if self._done:
            return
        try:
            opening, closing = self._last_blocks(code, message, details)
        except ValueError as error:  # metadata that cannot be sent
            self._outgoing = Outgoing()
            code, message = judge(self.route.path, error)
            opening, closing = self._last_blocks(code, message, b"")
        self._end(code)
        outbox = self._host.connection.outbox
        if opening:
            outbox.headers(self._stream, opening, end=False)
        outbox.close(self._stream, closing)
        self._host.flush_soon()

    def _last_blocks(self, code: Code, message: str, details: bytes) -> tuple[bytes, bytes]:
        initial, trailing = self._outgoing.initial, self._outgoing.trailing
        if self._opened:
            return b"", answers.closing(code, message, details, trailing)
        if code is Code.OK:
            return answers.opening(initial), answers.closing(code, message, details, trailing)
        return b"", answers.refusal(code, message, details, (*initial, *trailing))

    def cancel(self) -> None:
        """The peer does not want it any more: there is nobody to tell."""
        if not self._done:
            self._end(Code.CANCELLED)

    def wake(self) -> None:
        """The peer took what was queued, or the socket what was written."""
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    def _expire(self) -> None:
        self.finish(Code.DEADLINE_EXCEEDED, "deadline exceeded")

    def _end(self, code: Code) -> None:
        self._done = True
        self._stream.owner = None
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
        self.route.tally.add(code.name, time.monotonic() - self.began)
        self._host.ended(self, admitted=self._admitted)

    def _taken(self, size: int, hungry: bool) -> None:
        connection = self._host.connection
        connection.consumed(self._stream, size + PREFIX.size)
        if hungry and self._stream.state is State.OPEN:
            connection.credit(self._stream)
            self._host.flush_soon()
