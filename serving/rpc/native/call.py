"""One call that a handler works on: its task, its deadline, its messages in and out, and its one end."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from serving.rpc.errors import Code, StatusError, judge
from serving.rpc.http2.streams import Stream
from serving.rpc.method import Call, Reply
from serving.rpc.native.head import Head
from serving.rpc.native.host import Host
from serving.rpc.native.incoming import Incoming
from serving.rpc.native.messages import TooLargeError
from serving.rpc.native.request import Request
from serving.rpc.native.response import Response
from serving.rpc.native.routes import Route, encode

_QUEUED = 256 << 10
"""Bytes of a stream that may wait for the peer before its handler does."""


class RunningCall:
    """From its head to its status. Every way to end it goes through `finish`, which does so once."""

    def __init__(self, host: Host, stream: Stream, head: Head, route: Route, most: int, began: float) -> None:
        self.route = route
        self.began = began
        self._host = host
        self._stream = stream
        self._head = head
        self._request = Request(host, stream, head, route, most)
        self._response = Response(host, stream, head)
        self._done = False
        self._task: asyncio.Task[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._due = None if head.timeout is None else host.deadlines.add(self, began + head.timeout)
        self._admitted = False

    def begin(self) -> None:
        """Start a streaming handler; a unary one waits for its request."""
        if self._request.incoming is None:
            return
        try:
            self._start(self._stream_replies, self._request.incoming)
        except StatusError as error:
            self.fail(error)

    def received(self, data: bytes, *, ended: bool) -> None:
        """Take bytes of the request."""
        if self._done:
            return
        try:
            message = self._request.take(data, ended=ended)
            if message is not None:
                self._answer(message)
        except Exception as error:  # noqa: BLE001 - every error becomes a status
            self.fail(error)
            return
        if self._stream.owner is not None:  # not answered already
            self._request.credit()

    @property
    def waits(self) -> bool:
        """Whether it waits for nothing but the peer, unless the request is whole. See Request."""
        return self._request.waits

    def _answer(self, message: bytes) -> None:
        (ready,) = (None,) if self.route.now is None else self.route.now((message,))
        if ready is None:
            self._start(self._unary_reply, message)
            return
        self._send(ready.message)
        self.finish(Code.OK)

    def _start(self, work: Callable[[Any], Coroutine[Any, Any, None]], requests: object) -> None:
        self._host.admit(self._head.timeout, streaming=not self.route.unary)
        self._admitted = True
        self._task = asyncio.get_running_loop().create_task(work(requests))

    def _call(self) -> Call:
        return self._head.call_at(self.began, self._response.outgoing)

    async def _unary_reply(self, message: bytes) -> None:
        try:
            reply: Reply = await self.route.handler(self.route.decode(message), self._call())
            message = encode(reply)
            self._host.check_taken(len(message))
            self._send(message)
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
                while self._host.paused or self._response.queued > _QUEUED:
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
        return 0 if self._done else self._response.send(message)

    def fail(self, error: Exception) -> None:
        """End with the status of an error."""
        if not self._done:
            if isinstance(error, TooLargeError):
                self._host.strike("max_message_bytes")
            self.finish(*judge(self.route.path, error))

    def finish(self, code: Code, message: str = "", details: bytes = b"") -> None:
        """End with a status."""
        if self._done:
            return
        code, opening, closing = self._response.last_blocks(self.route.path, code, message, details)
        self._end(code)
        self._response.end(opening, closing)

    def cancel(self) -> None:
        """The peer does not want it any more: there is nobody to tell."""
        if not self._done:
            self._end(Code.CANCELLED)

    def wake(self) -> None:
        """The peer took what was queued, or the socket what was written."""
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    def expire(self) -> None:
        """See Deadlines."""
        self.finish(Code.DEADLINE_EXCEEDED, "deadline exceeded")

    def _end(self, code: Code) -> None:
        self._done = True
        self._stream.owner = None
        if self._due is not None:
            self._due.pop(self, None)
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
        self.route.tally.add(code.name, time.monotonic() - self.began)
        self._host.ended(self, admitted=self._admitted, streaming=not self.route.unary)
