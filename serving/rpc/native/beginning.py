"""Calls that a handler begins to answer without a task, unless it is plain that the answer would come too late."""

import time

from serving.errors import OverloadedError
from serving.rpc.http2.session import Complete
from serving.rpc.method import Soon
from serving.rpc.native.door import Door
from serving.rpc.native.heads import Head
from serving.rpc.native.host import Host
from serving.rpc.native.house import House
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
        later, door = [], Door(self._host.connection, self._house, route)
        for stream_id in ids:
            head, body, _ = complete[stream_id]
            message = body[PREFIX.size :]
            if door.shuts(stream_id, head, message):
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
                if isinstance(error, OverloadedError):
                    door.learn(message, error)
        door.count(time.monotonic() - began)
        return later

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
