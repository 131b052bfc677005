"""Calls that a handler begins to answer without a task, unless it is plain that the answer would come too late."""

import time

from serving.errors import OverloadedError
from serving.rpc.errors import Code
from serving.rpc.http2.session import Complete
from serving.rpc.method import Soon
from serving.rpc.native import answers
from serving.rpc.native.head import Head
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

    def begin(self, route: Route, soon: Soon, ids: list[int], complete: Complete, began: float) -> list[int]:
        """Let the handler begin with each, or refuse it; return the streams that have to become calls."""
        chunks, later, refused = self._host.connection.outbox.chunks, [], 0
        waited_s = self._house.round.seconds()
        for stream_id in ids:
            head, body, _ = complete[stream_id]
            message = body[PREFIX.size :]
            queue = (route, route.queue(message)) if route.queue is not None else None
            words = self._refuses(queue, head.timeout, waited_s)
            if words:
                refused += 1
                chunks.append(answers.whole(stream_id, answers.refused(Code.RESOURCE_EXHAUSTED, words)))
                continue
            whole = head.whole()
            if whole.refusal is not None or self._house.full():
                later.append(stream_id)
                continue
            pending = Pending(self._host, stream_id, route, began)
            try:
                if not self._begun(soon, message, whole, pending, began):
                    later.append(stream_id)
            except Exception as error:  # noqa: BLE001 - every error becomes a status
                pending.withdraw()
                self._host.refuse(stream_id, route, error, began)
                if queue is not None and isinstance(error, OverloadedError):
                    self._house.full_queues.learn(queue, error)
        if refused:
            route.tally.add(Code.RESOURCE_EXHAUSTED.name, time.monotonic() - began, refused)
        return later

    def _refuses(self, queue: tuple[Route, bytes] | None, timeout: float | None, waited_s: float) -> str:
        """Return why a call is not begun, before anything is done for it; "" = it is."""
        house = self._house
        words = house.refuses(timeout, waited_s)
        if words or queue is None or not queue[1]:
            return words
        return house.full_queues.refuses(queue, None if timeout is None else (timeout - waited_s) * SHARE)

    def _begun(self, soon: Soon, message: bytes, head: Head, pending: Pending, began: float) -> bool:
        """A call of which there is nothing but its request needs no task to wait. False: nothing was done."""
        self._house.running += 1
        call = head.call if head.timeout is None and not head.traces else head.call_at(began, None)
        abandon = soon(message, call, pending)
        if abandon is None:
            pending.withdraw()
            return False
        pending.begun(abandon, call.deadline)
        return True
