"""Who is not let in: calls that would be answered too late are told so, or get what needs no work, for next to nothing.

An overloaded server meets several calls for each that it can answer. What it does for those comes off its answers.
"""

from collections.abc import Sequence

from serving.errors import OverloadedError
from serving.rpc.errors import Code
from serving.rpc.http2.connection import Connection
from serving.rpc.http2.session import Complete
from serving.rpc.native import answers
from serving.rpc.native.head import Head
from serving.rpc.native.house import SHARE, House
from serving.rpc.native.messages import PREFIX
from serving.rpc.native.routes import Route
from serving.rpc.native.varied import Varied

_EVER = float("inf")
_Refusal = tuple[bytes, ...]


class Door:
    """For the requests of one method that one read brought. Within a read, who is like one that was refused is, too."""

    __slots__ = (
        "_alike", "_connection", "_head", "_house", "_left_s", "_limit", "_queue", "_refusal", "_refused",
        "_refused_s", "_route", "_shut", "_spared", "_struck", "_timeout", "_waited_s",
    )  # fmt: skip

    def __init__(self, connection: Connection, house: House, route: Route) -> None:
        self._connection = connection
        self._house = house
        self._route = route
        self._waited_s = house.round.seconds()
        self._head: Head | Varied | None = None
        self._timeout: float | None = None
        self._left_s: float | None = None
        """Of the last head: all that its call has, and what is left of that for waiting; None = as long as any."""
        self._limit = ""
        self._shut: _Refusal = ()
        """The limit that nobody with the last head passes, and what they are told."""
        self._queue, self._refused_s = b"", 0.0
        self._refusal: _Refusal = ()
        """The last queue that was full, for whom it was, and what they are told; who has no more time need not ask."""
        self._alike = self._refused = self._spared = 0
        self._struck: dict[str, int] = {}

    def let_in(self, ids: Sequence[int], complete: Complete) -> list[int]:
        """Return the streams of the calls that are not answered here."""
        route, chunks, found = self._route, self._connection.outbox.chunks, list[int]()
        told, limit, most_s = _Refusal(), "", 0.0
        for stream_id in ids:
            head, body, _ = complete[stream_id]
            message = body[PREFIX.size :]
            # What `shuts` would find for who has no more time than the last one refused, at half of what that costs.
            if (
                told
                and _seconds(head) <= most_s
                and (limit or (route.queue is not None and route.queue(message) == self._queue))
            ):
                self._refused += 1
                if limit:
                    self._struck[limit] += 1
                else:
                    self._alike += 1
                chunks.append(answers.whole(stream_id, told))
            elif not self.shuts(stream_id, head, message):
                found.append(stream_id)
            elif route.spare is None:
                told, limit, most_s = self._shut if self._limit else self._refusal, self._limit, _seconds(head)
        return found

    def shuts(self, stream_id: int, head: Head | Varied, message: bytes) -> bool:
        """Tell whether a call is answered here, because there is no time for it."""
        if head is not self._head:
            self._head, self._timeout, self._limit = head, head.timeout, ""
            self._left_s = None if self._timeout is None else (self._timeout - self._waited_s) * SHARE
        if self._route.spare is not None and self._spares(stream_id, message, 0.0 if self._limit else self._left_s):
            return True
        refusal = self._shut if self._limit else self._queued(message) or self._limited()
        if not refusal:
            return False
        if self._limit:
            self._struck[self._limit] = self._struck.get(self._limit, 0) + 1
            if self._route.spare is not None and self._spares(stream_id, message, 0.0):
                return True
        self._refused += 1
        self._connection.outbox.chunks.append(answers.whole(stream_id, refusal))
        return True

    def learn(self, message: bytes, error: OverloadedError) -> None:
        """Remember why a call was refused that was let in."""
        queue = self._route.queue(message, sure=True) if self._route.queue is not None else b""
        if queue:
            self._house.full_queues.learn((self._route, queue), error)

    def count(self, seconds: float) -> None:
        """Count those who were not let in, after so many seconds."""
        if not (self._refused or self._spared):
            return
        self._settle()
        for limit, times in self._struck.items():
            self._house.strike(limit, times)
        for code, calls in ((Code.RESOURCE_EXHAUSTED, self._refused), (Code.OK, self._spared)):
            if calls:
                self._route.tally.add(code.name, seconds, calls)

    def _limited(self) -> _Refusal:
        """Look at the limits of all calls; () = one more may be."""
        self._limit, words = self._house.refuses(self._timeout, self._waited_s)
        if self._limit:
            self._shut = answers.refused(Code.RESOURCE_EXHAUSTED, words)
            return self._shut
        return ()

    def _queued(self, message: bytes) -> _Refusal:
        """Look at what is known of the queue that it would wait in; () = it may ask."""
        route = self._route
        if not self._house.full_queues:
            return ()
        queue = route.queue(message) if route.queue is not None else b""
        if not queue:
            return ()
        left_s = _EVER if self._left_s is None else self._left_s
        if queue == self._queue and left_s <= self._refused_s:
            self._alike += 1
            return self._refusal
        words = self._house.full_queues.refuses((route, queue), self._left_s)
        if not words:
            return ()
        self._settle()
        self._queue, self._refused_s = queue, left_s
        self._refusal = answers.refused(Code.RESOURCE_EXHAUSTED, words)
        return self._refusal

    def _spares(self, stream_id: int, message: bytes, left_s: float | None) -> bool:
        assert self._route.spare is not None  # noqa: S101 - who asks has looked
        spare = self._route.spare(message, left_s)
        if spare is None:
            return False
        answers.put(self._connection, stream_id, spare)
        self._spared += 1
        return True

    def _settle(self) -> None:
        if self._alike:
            self._house.full_queues.again((self._route, self._queue), self._alike)
            self._alike = 0


def _seconds(head: Head | Varied) -> float:
    timeout = head.timeout
    return _EVER if timeout is None else timeout
