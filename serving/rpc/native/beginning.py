"""Calls that a handler begins to answer without a task, unless it is plain that the answer would come too late."""

import time

from serving.errors import OverloadedError
from serving.rpc.errors import Code
from serving.rpc.http2.session import Complete
from serving.rpc.method import Soon
from serving.rpc.native import answers
from serving.rpc.native.host import Host
from serving.rpc.native.house import SHARE, House
from serving.rpc.native.messages import PREFIX
from serving.rpc.native.pending import Pending
from serving.rpc.native.routes import Route


class Beginning:
    """One connection's: the requests of one method that one read brought, whole and not compressed."""

    def __init__(self, host: Host, house: House) -> None:
        self._host = host
        self._house = house
        self._chunks = host.connection.outbox.chunks

    def begin(self, route: Route, soon: Soon, ids: list[int], complete: Complete, began: float) -> list[int]:
        """Let the handler begin with each, or refuse it; return the streams that have to become calls.

        Their heads say nothing that would be refused: `quick` of each is this route.
        """
        house, later, refused, waits = self._house, list[int](), 0, False
        if house.full():
            return ids
        full_queues = house.full_queues if route.queue is not None else None
        waited_s = house.round.seconds()
        for stream_id in ids:
            head, body, _ = complete[stream_id]
            message, timeout = body[PREFIX.size :], head.timeout
            words = house.refuses(timeout, waited_s)
            if not words and full_queues:
                left_s = None if timeout is None else (timeout - waited_s) * SHARE
                words = full_queues.refuses(_queue_of(route, message), left_s)
            if words:
                refused += 1
                self._chunks.append(answers.whole(stream_id, answers.refused(Code.RESOURCE_EXHAUSTED, words)))
                continue
            house.running += 1
            pending = Pending(self._host, stream_id, route, began)
            deadline = None if timeout is None else began + timeout
            try:
                abandon = soon(message, deadline, pending)
            except Exception as error:  # noqa: BLE001 - every error becomes a status
                pending.withdraw()
                self._host.refuse(stream_id, route, error, began)
                if full_queues is not None and isinstance(error, OverloadedError):
                    full_queues.learn(_queue_of(route, message), error)
                continue
            if abandon is None:  # nothing was done
                pending.withdraw()
                later.append(stream_id)
            else:
                pending.begun(abandon, deadline)
                waits = True
        if waits:
            # Asked for now, the write comes in the same round of the loop as a run that this read has made due.
            self._host.flush_soon()
        if refused:
            route.tally.add(Code.RESOURCE_EXHAUSTED.name, time.monotonic() - began, refused)
        return later


def _queue_of(route: Route, message: bytes) -> tuple[Route, bytes] | None:
    """Name the queue that a request waits in; None where that is not easily seen."""
    name = b"" if route.queue is None else route.queue(message)
    return (route, name) if name else None
