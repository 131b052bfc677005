"""Unary calls of one read that are answered together: of each, only what its one end needs."""

import time
from collections.abc import Sequence

from serving.rpc.errors import Code, StatusError
from serving.rpc.method import Abandon
from serving.rpc.native import answers
from serving.rpc.native.deadlines import Due
from serving.rpc.native.head import Head
from serving.rpc.native.host import Host
from serving.rpc.native.messages import PREFIX
from serving.rpc.native.routes import Route
from serving.rpc.native.varied import Varied

Guest = tuple[Head | Varied, bytes, int]
"""A request: its head, its one message with the prefix, and what the peer added to its window."""


class Party:
    """From their requests, which are whole, to their statuses. See method.AnsweringAll.

    The connection keeps it, as what each of them is, from when it is known that they have to wait (`begun`).
    """

    __slots__ = ("__weakref__", "_abandon", "_began", "_due", "_guests", "_host", "_ids", "_over", "_route")

    def __init__(self, host: Host, route: Route, guests: dict[int, Guest], began: float) -> None:
        """`guests`: by stream."""
        self._host = host
        self._route = route
        self._ids = tuple(guests)
        self._guests = guests
        self._began = began
        self._over = False
        self._due: Due | None = None
        self._abandon: Abandon | None = None

    def begun(self, abandon: Abandon, deadline: float | None) -> None:
        """Wait for the answers that have not come already; know what is to be called at the end.

        deadline: the last of theirs, by the monotonic clock; None = there is none.
        """
        if self._over:
            abandon()
            return
        host = self._host
        self._abandon = abandon
        keep = host.connection.keep
        for stream_id in self._guests:
            keep(stream_id, self)
        host.calls.add(self)
        if deadline is not None:
            self._due = host.deadlines.add(self, deadline)

    def give(self, found: Sequence[bytes | Exception | None]) -> None:
        """Send the answers that there are."""
        if self._over:
            return
        host, guests = self._host, self._guests
        connection = host.connection
        streams, kept, outbox = connection.streams, connection.session.kept, connection.outbox
        claim, chunks, once = outbox.claim, outbox.chunks, answers.once
        before = len(guests)
        for stream_id, answer in zip(self._ids, found, strict=True):
            if answer is None or guests.pop(stream_id, None) is None:
                continue  # it waits, or was given up
            if not isinstance(answer, Exception):
                too_much = self._too_much(answer) if outbox.queued or host.paused else None
                if too_much is None:
                    if stream_id in streams or not claim(len(answer) + PREFIX.size):
                        self._queue(stream_id, answer)
                    else:
                        kept.pop(stream_id, None)
                        chunks.append(once(stream_id, answer))
                    continue
                answer = too_much  # noqa: PLW2901 - that is what is sent
            before -= 1
            self._refuse(stream_id, answer)
        self._leave(Code.OK, before - len(guests))

    def fail(self, error: Exception) -> None:
        """Send each the status of an error."""
        if self._over:
            return
        for stream_id in self._guests:
            self._refuse(stream_id, error)
        self._guests.clear()
        self._leave(None, 0)

    def apart(self) -> None:
        """Let each be a call of its own."""
        if self._over:
            return
        guests, self._guests = self._guests, {}
        self._leave(None, len(guests))
        for stream_id, (head, body, _) in guests.items():
            self._host.later(stream_id, head.whole(), body, self._began)

    def give_up(self, stream_id: int) -> None:
        """The peer does not want one of them any more."""
        if not self._over and self._guests.pop(stream_id, None) is not None:
            self._leave(Code.CANCELLED, 1)

    def cancel(self) -> None:
        """The peer is gone: there is nobody to tell."""
        if self._over:
            return
        guests, self._guests = self._guests, {}
        for stream_id in guests:
            self._take_back(stream_id)
        self._leave(Code.CANCELLED, len(guests))

    def withdraw(self) -> None:
        """End it before it has `begun`; what becomes of the requests is another's part."""
        guests, self._guests = self._guests, {}
        self._leave(None, len(guests))

    def received(self, data: bytes, *, ended: bool) -> None:
        """Nothing comes: the requests are whole."""

    def wake(self) -> None:
        """Nothing waits: each answer is one piece."""

    def expire(self) -> None:
        """See Deadlines."""
        self.fail(StatusError(Code.DEADLINE_EXCEEDED, "deadline exceeded"))

    def _too_much(self, answer: bytes) -> StatusError | None:
        try:
            self._host.check_taken(len(answer))
        except StatusError as error:
            return error
        return None

    def _refuse(self, stream_id: int, error: Exception) -> None:
        """Send one the status of an error, which counts it."""
        self._take_back(stream_id)
        self._host.freed(1)
        self._host.refuse(stream_id, self._route, error, self._began)

    def _queue(self, stream_id: int, message: bytes) -> None:
        """Send one answer as the windows of its stream allow."""
        outbox, stream = self._host.connection.outbox, self._host.connection.adopt(stream_id)
        stream.owner = None
        if outbox.claim_of(stream, len(message) + PREFIX.size):
            outbox.chunks.append(answers.once(stream_id, message))
            outbox.closed(stream)
        else:
            answers.queue(outbox, stream, message)

    def _take_back(self, stream_id: int) -> None:
        connection = self._host.connection
        stream = connection.streams.get(stream_id)
        if stream is not None:
            stream.owner = None
        else:
            connection.session.kept.pop(stream_id, None)

    def _leave(self, code: Code | None, calls: int) -> None:
        """So many have gone; `code`: as which they count. Without any left, it is over."""
        host = self._host
        host.freed(calls)
        if code is not None and calls:
            self._route.tally.add(code.name, time.monotonic() - self._began, calls)
        waits = self._abandon is not None
        if not self._guests:
            self._over = True
            abandon, self._abandon = self._abandon, None  # it leads back here: nothing is left for the collector
            if abandon is not None:
                abandon()
                host.calls.discard(self)
            if self._due is not None:
                self._due.pop(self, None)
        if waits:
            host.flush_soon()  # else it is within a read, which ends in a write
