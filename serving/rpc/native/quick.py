"""The path of nearly every request, which was whole in one read: answered within it where that needs no waiting."""

import time

import structlog

from serving.rpc.http2.session import Complete
from serving.rpc.method import Now
from serving.rpc.native import answers
from serving.rpc.native.beginning import Beginning
from serving.rpc.native.host import Host
from serving.rpc.native.house import House
from serving.rpc.native.messages import PREFIX
from serving.rpc.native.routes import Route

log = structlog.get_logger()

_PREFIX_BYTES = PREFIX.size
_SHORT = 1 << 10
_PREFIX_OF = [PREFIX.pack(0, max(size - _PREFIX_BYTES, 0)) for size in range(_SHORT)]
"""By the length of a DATA frame, how it begins if it is one message, not compressed."""


class Quick:
    """One connection's: no task, no stream and no metric of its own for a request, as far as that goes."""

    def __init__(self, host: Host, house: House) -> None:
        self._host = host
        self._beginning = Beginning(host, house)
        self._most = house.max_message_bytes + _PREFIX_BYTES

    def answer(self, complete: Complete, began: float) -> list[int]:
        """Answer, or begin to; return the streams that have to become calls."""
        later: list[int] = []
        asked: dict[Route, tuple[list[int], list[bytes]]] = {}
        last: Route | None = None
        streams, most = self._host.connection.streams, self._most
        for stream_id, (head, body, _) in complete.items():
            route, size = head.quick, len(body)
            if (
                route is None
                or size > most
                or not body.startswith(_PREFIX_OF[size] if size < _SHORT else PREFIX.pack(0, size - _PREFIX_BYTES))
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
            if self._host.compress_bytes:
                later += ids
                continue
            left = ids if route.now is None else self._now(route, route.now, ids, messages, began)
            if left and route.soon is not None:
                left = self._beginning.begin(route, route.soon, left, complete, began)
            later += left
        return later

    def _now(self, route: Route, now: Now, ids: list[int], messages: list[bytes], began: float) -> list[int]:
        """Write the answers that there are, or queue those beyond a window; return the streams of the others."""
        outbox, later = self._host.connection.outbox, []
        chunks, claim = outbox.chunks, outbox.claim
        try:
            found = now(messages)
        except Exception:
            log.exception("rpc.defect", method=route.path)
            return ids
        for stream_id, ready in zip(ids, found, strict=True):
            if ready is None:
                later.append(stream_id)
                continue
            if not claim(len(ready.message) + _PREFIX_BYTES):
                # Not left to others: whoever gave the answer has counted it.
                answers.queue(outbox, self._host.connection.adopt(stream_id), ready.message)
                continue
            if not ready.carried:
                ready.carried = answers.pieces(ready.message)
            chunks.append(answers.whole(stream_id, ready.carried))
        if len(later) < len(ids):
            route.tally.add("OK", time.monotonic() - began, len(ids) - len(later))
        return later
