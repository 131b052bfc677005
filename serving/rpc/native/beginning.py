"""Calls that a handler begins to answer without a task, unless it is plain that the answer would come too late."""

import time

from serving.errors import OverloadedError
from serving.rpc.http2.session import Complete
from serving.rpc.method import Soon
from serving.rpc.native.door import Door
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
        """Let the handler begin with each, or refuse it; return the streams that have to become calls.

        Their heads say nothing that would be refused: `quick` of each is this route.
        """
        house, later, waits = self._house, list[int](), False
        if house.full():
            return ids
        door = Door(self._host.connection, house, route)
        for stream_id in ids:
            head, body, _ = complete[stream_id]
            message, timeout = body[PREFIX.size :], head.timeout
            if door.shuts(stream_id, head, message):
                continue
            house.running += 1
            pending = Pending(self._host, stream_id, route, began)
            deadline = None if timeout is None else began + timeout
            try:
                abandon = soon(message, deadline, pending)
            except Exception as error:  # noqa: BLE001 - every error becomes a status
                pending.withdraw()
                self._host.refuse(stream_id, route, error, began)
                if isinstance(error, OverloadedError):
                    door.learn(message, error)
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
        door.count(time.monotonic() - began)
        return later
