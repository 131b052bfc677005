"""A unary call whose answer comes without a task: of the call, only what its one end needs."""

import time

from serving.rpc.errors import Code, StatusError, judge
from serving.rpc.http2 import frames
from serving.rpc.http2.streams import Stream
from serving.rpc.method import Abandon
from serving.rpc.native import answers
from serving.rpc.native.deadlines import Due
from serving.rpc.native.host import Host
from serving.rpc.native.messages import PREFIX
from serving.rpc.native.routes import Route

_OK = Code.OK.name
"""To ask an Enum for it takes as long as to count it."""


class Pending:
    """From its request, which is whole, to its status. See method.Answering.

    The connection keeps it, as what it is, from when it is known that it has to wait (`begun`).
    """

    __slots__ = ("__weakref__", "_abandon", "_began", "_due", "_host", "_over", "_route", "_stream_id")

    def __init__(self, host: Host, stream_id: int, route: Route, began: float) -> None:
        self._host = host
        self._stream_id = stream_id
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
        host = self._host
        self._abandon = abandon
        host.connection.keep(self._stream_id, self)
        host.calls.add(self)
        if deadline is not None:
            self._due = host.deadlines.add(self, deadline)

    def give(self, message: bytes) -> None:
        """Send the answer."""
        if self._over:
            return
        try:
            self._host.check_taken(len(message))
        except StatusError as error:
            self.fail(error)
            return
        connection, size = self._host.connection, len(message) + PREFIX.size
        outbox, stream = connection.outbox, connection.streams.get(self._stream_id)
        if stream is None and not outbox.claim(size):
            stream = connection.adopt(self._stream_id)  # which has a queue
        waited = self._end(_OK, stream)
        if stream is None:
            outbox.chunks.append(answers.once(self._stream_id, message))
        elif outbox.claim_of(stream, size):
            outbox.chunks.append(answers.once(stream.id, message))
            outbox.closed(stream)
        else:
            answers.queue(outbox, stream, message)
        if waited:  # else it is within a read, which ends in a write
            self._host.flush_soon()

    def fail(self, error: Exception) -> None:
        """Send the status of an error."""
        if self._over:
            return
        code, message, details = judge(self._route.path, error)
        connection = self._host.connection
        outbox, stream = connection.outbox, connection.streams.get(self._stream_id)
        waited = self._end(code.name, stream)
        block = answers.refusal(code, message, details)
        if stream is None:
            outbox.chunks.append(frames.headers(self._stream_id, block, end=True, frame_bytes=outbox.frame_bytes))
        else:
            outbox.headers(stream, block, end=True)
        if waited:
            self._host.flush_soon()

    def cancel(self) -> None:
        """The peer does not want it any more: there is nobody to tell."""
        if not self._over:
            self._end(Code.CANCELLED.name, self._host.connection.streams.get(self._stream_id))

    def withdraw(self) -> None:
        """End it before it has `begun`; what becomes of the request is another's part."""
        self._over = True
        self._host.ended(self, admitted=True)

    def received(self, data: bytes, *, ended: bool) -> None:
        """Nothing comes: the request is whole."""

    def wake(self) -> None:
        """Nothing waits: the answer is one piece."""

    def expire(self) -> None:
        """See Deadlines."""
        self.fail(StatusError(Code.DEADLINE_EXCEEDED, "deadline exceeded"))

    def _end(self, code: str, stream: Stream | None) -> bool:
        """Return whether it had begun to wait."""
        self._over = True
        host = self._host
        if stream is not None:
            stream.owner = None
        abandon, self._abandon = self._abandon, None  # it leads back here: nothing is left for the collector
        if abandon is not None:  # it has waited
            abandon()
            if stream is None:
                host.connection.session.kept.pop(self._stream_id, None)
            if self._due is not None:
                self._due.pop(self, None)
        host.ended(self, admitted=True)
        self._route.tally.add(code, time.monotonic() - self._began)
        return abandon is not None
