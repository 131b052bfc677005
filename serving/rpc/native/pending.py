"""A unary call whose answer comes without a task: of the call, only what its one end needs."""

import asyncio
import time

from serving.rpc.errors import Code, StatusError, judge
from serving.rpc.http2.streams import Stream
from serving.rpc.method import Abandon
from serving.rpc.native import answers
from serving.rpc.native.call import Host
from serving.rpc.native.messages import PREFIX
from serving.rpc.native.routes import Route


class Pending:
    """From its request, which is whole, to its status. See method.Answering."""

    __slots__ = ("__weakref__", "_abandon", "_began", "_host", "_over", "_route", "_stream", "_timer")

    def __init__(self, host: Host, stream: Stream, route: Route, began: float, timeout: float | None) -> None:
        self._host = host
        self._stream = stream
        self._route = route
        self._began = began
        self._over = False
        self._timer: asyncio.TimerHandle | None = None
        self._abandon: Abandon | None = None
        if timeout is not None:
            self._timer = asyncio.get_running_loop().call_later(timeout, self._expire)

    def begun(self, abandon: Abandon) -> None:
        """Know what is to be called at the end, unless that has come already."""
        if not self._over:
            self._abandon = abandon

    def give(self, message: bytes) -> None:
        """Send the answer."""
        if self._over:
            return
        outbox, stream = self._host.connection.outbox, self._stream
        self._end(Code.OK)
        if outbox.claim_of(stream, len(message) + PREFIX.size):
            outbox.chunks.append(answers.whole(stream.id, answers.pieces(message)))
            outbox.closed(stream)
        else:
            outbox.headers(stream, answers.OPENING, end=False)
            outbox.data(stream, PREFIX.pack(0, len(message)) + message)
            outbox.close(stream, answers.CLOSING)
        self._host.flush_soon()

    def fail(self, error: Exception) -> None:
        """Send the status of an error."""
        if self._over:
            return
        code, message = judge(self._route.path, error)
        details = error.details if isinstance(error, StatusError) else b""
        self._end(code)
        self._host.connection.outbox.headers(self._stream, answers.refusal(code, message, details), end=True)
        self._host.flush_soon()

    def cancel(self) -> None:
        """The peer does not want it any more: there is nobody to tell."""
        if not self._over:
            self._end(Code.CANCELLED)

    def withdraw(self) -> None:
        """Make room for a call of another kind: nothing was begun."""
        self._over = True
        self._stream.owner = None
        if self._timer is not None:
            self._timer.cancel()
        self._host.ended(self, admitted=True)

    def received(self, data: bytes, *, ended: bool) -> None:
        """Nothing comes: the request is whole."""

    def wake(self) -> None:
        """Nothing waits: the answer is one piece."""

    def _expire(self) -> None:
        self.fail(StatusError(Code.DEADLINE_EXCEEDED, "deadline exceeded"))

    def _end(self, code: Code) -> None:
        self.withdraw()
        abandon, self._abandon = self._abandon, None  # it leads back here: nothing is left for the collector
        if abandon is not None:
            abandon()
        self._route.tally.add(code.name, time.monotonic() - self._began)
