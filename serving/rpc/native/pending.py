"""A unary call whose answer comes without a task: of the call, only what its one end needs."""

import time

from serving.rpc.errors import Code, StatusError, judge
from serving.rpc.http2.streams import Stream
from serving.rpc.method import Abandon
from serving.rpc.native import answers
from serving.rpc.native.deadlines import Due
from serving.rpc.native.host import Host
from serving.rpc.native.messages import PREFIX
from serving.rpc.native.routes import Route


class Pending:
    """From its request, which is whole, to its status. See method.Answering.

    It is no stream of the connection's until it is known that it has to wait (`begun`).
    """

    __slots__ = ("__weakref__", "_abandon", "_began", "_due", "_host", "_over", "_route", "_stream", "_stream_id")

    def __init__(self, host: Host, stream_id: int, route: Route, began: float) -> None:
        self._host = host
        self._stream_id = stream_id
        self._stream: Stream | None = None
        self._route = route
        self._began = began
        self._over = False
        self._due: Due | None = None
        self._abandon: Abandon | None = None

    def begun(self, abandon: Abandon, deadline: float | None) -> None:
        """Wait for the answer, unless it has come already; know what is to be called at the end.

        deadline: by the monotonic clock; None = there is none.
        """
        if self._over:
            return
        self._abandon = abandon
        self._stream = stream = self._host.connection.adopt(self._stream_id)
        stream.owner = self
        self._host.calls.add(self)
        if deadline is not None:
            self._due = self._host.deadlines.add(self, deadline)

    def give(self, message: bytes) -> None:
        """Send the answer."""
        if self._over:
            return
        connection, stream, size = self._host.connection, self._stream, len(message) + PREFIX.size
        self._end(Code.OK)
        outbox = connection.outbox
        if stream is None and outbox.claim(size):
            outbox.chunks.append(answers.whole(self._stream_id, answers.pieces(message)))
            return  # within a read, which ends in a write
        stream = stream or connection.adopt(self._stream_id)
        if outbox.claim_of(stream, size):
            outbox.chunks.append(answers.whole(stream.id, answers.pieces(message)))
            outbox.closed(stream)
        else:
            answers.queue(outbox, stream, message)
        self._host.flush_soon()

    def fail(self, error: Exception) -> None:
        """Send the status of an error."""
        if self._over:
            return
        code, message, details = judge(self._route.path, error)
        self._end(code)
        stream = self._stream or self._host.connection.adopt(self._stream_id)
        self._host.connection.outbox.headers(stream, answers.refusal(code, message, details), end=True)
        self._host.flush_soon()

    def cancel(self) -> None:
        """The peer does not want it any more: there is nobody to tell."""
        if not self._over:
            self._end(Code.CANCELLED)

    def withdraw(self) -> None:
        """End it here; what becomes of the request is another's part."""
        self._over = True
        if self._stream is not None:
            self._stream.owner = None
        if self._due is not None:
            self._due.pop(self, None)
        self._host.ended(self, admitted=True)

    def received(self, data: bytes, *, ended: bool) -> None:
        """Nothing comes: the request is whole."""

    def wake(self) -> None:
        """Nothing waits: the answer is one piece."""

    def expire(self) -> None:
        """See Deadlines."""
        self.fail(StatusError(Code.DEADLINE_EXCEEDED, "deadline exceeded"))

    def _end(self, code: Code) -> None:
        self.withdraw()
        abandon, self._abandon = self._abandon, None  # it leads back here: nothing is left for the collector
        if abandon is not None:
            abandon()
        self._route.tally.add(code.name, time.monotonic() - self._began)
