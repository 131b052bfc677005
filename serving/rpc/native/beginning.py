"""Calls that a handler begins to answer without a task, unless it is plain that the answer would come too late."""

import time
from collections.abc import Iterator

import structlog

from serving.errors import NearlineError, OverloadedError
from serving.rpc.errors import Code, StatusError
from serving.rpc.http2.session import Complete
from serving.rpc.method import Soon, Together
from serving.rpc.native import answers
from serving.rpc.native.door import Door
from serving.rpc.native.host import Host
from serving.rpc.native.house import House
from serving.rpc.native.messages import PREFIX
from serving.rpc.native.party import Party
from serving.rpc.native.pending import Pending
from serving.rpc.native.routes import Route

log = structlog.get_logger()

_MOST = 16
"""Requests that are begun together: in a run with more rows, a row is not much cheaper (recommend/batcher.py)."""


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
        if self._crowded(route):
            self._refuse(route, ids, began)
            return later
        door = Door(self._host.connection, house, route)
        if route.together is not None and len(ids) > 1:
            ids, waits = self._together(route, route.together, ids, complete, began, door)
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

    def _crowded(self, route: Route) -> bool:
        """Tell whether there are too many calls, and nothing that needs no work to give instead."""
        return route.spare is None and self._house.crowded

    def _refuse(self, route: Route, ids: list[int], began: float) -> None:
        """Tell all that there are too many: of an overloaded server that is most, so nothing is done for each."""
        refusal = answers.refused(Code.RESOURCE_EXHAUSTED, self._house.too_many)
        self._host.connection.outbox.chunks += [answers.whole(stream_id, refusal) for stream_id in ids]
        self._house.strike("running_calls", len(ids))
        route.tally.add(Code.RESOURCE_EXHAUSTED.name, time.monotonic() - began, len(ids))

    def _together(
        self, route: Route, together: Together, ids: list[int], complete: Complete, began: float, door: Door
    ) -> tuple[list[int], bool]:
        """Let the handler begin with many at once; return the streams of the others, and whether anybody waits."""
        house, left, waits = self._house, list[int](), False
        if route.spare is None:
            ids = door.let_in(ids, complete)
        for timeout, party_ids in self._alike(ids, complete, began):
            if route.spare is not None:  # there is less time once those before have been begun
                party_ids = door.let_in(party_ids, complete)  # noqa: PLW2901 - the others have been answered
            if len(party_ids) <= 1 or house.running + len(party_ids) > house.limits.running_calls:
                left += party_ids
                continue
            guests = {stream_id: complete[stream_id] for stream_id in party_ids}
            messages = [body[PREFIX.size :] for _, body, _ in guests.values()]
            house.running += len(guests)
            party = Party(self._host, route, guests, began)
            deadline = None if timeout is None else began + timeout
            try:
                abandon = together(messages, deadline, party)
            except (NearlineError, StatusError):  # each is told by itself
                abandon = None
            except Exception:
                log.exception("rpc.defect", method=route.path)
                abandon = None
            if abandon is None:
                party.withdraw()
                left += guests
            else:
                party.begun(abandon, deadline)
                waits = True
        if left and self._crowded(route):
            self._refuse(route, left, began)
            left = []
        return left, waits

    def _alike(self, ids: list[int], complete: Complete, began: float) -> Iterator[tuple[float | None, list[int]]]:
        """Yield requests that expire at the same moment, and the last of their timeouts."""
        found: dict[int, tuple[float | None, list[int]]] = {}
        step = self._host.deadlines.step
        for stream_id in ids:
            timeout = complete[stream_id][0].timeout
            key = -1 if timeout is None else step(began + timeout)
            last, alike = found.get(key) or (None, [])
            alike.append(stream_id)
            found[key] = timeout if last is None or timeout is None else max(last, timeout), alike
        for timeout, alike in found.values():
            for start in range(0, len(alike), _MOST):
                yield timeout, alike[start : start + _MOST]
