"""The load of one process: keeps its connections, and sends calls when they are due or when others end."""

import asyncio
import ssl
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from serving.errors import NearlineError, UnavailableError
from serving.loadtest.arrivals import arrivals
from serving.loadtest.connection import Connection
from serving.loadtest.picks import picks
from serving.loadtest.plan import Closed, Open, Plan
from serving.loadtest.recorder import Recorder, Report, now_ns
from serving.loadtest.statuses import Status

_CONNECT_S = 10.0
_AGAIN_S = 0.1
_REPORT_S = 0.25
_LOOK_S = 0.01
_SPIN_NS = 2_000_000
"""Event loops wake up by the millisecond; what is due sooner is waited for by looking again and again."""
_UNANSWERED = Status("DEADLINE_EXCEEDED", "no answer until the time-out")


class Generator:
    """One of `plan.processes`, the `number`th. Used on one event loop."""

    def __init__(self, plan: Plan, number: int) -> None:
        self._plan = plan
        self._number = number
        bodies = [b"\0" + len(request).to_bytes(4, "big") + request for request in plan.requests]
        self._largest = max(map(len, bodies))
        self._requests = picks(bodies, plan.skew, plan.seed * 1_000 + number)
        self._recorder = Recorder(0, 0, plan.slice_s)
        self._connections: list[Connection] = []
        self._leaving: list[Connection] = []
        self._backlog: deque[int] = deque()
        self._turn = 0
        self._ending = False
        self._renewing: set[asyncio.Task[None]] = set()
        self._end_ns = 0

    async def connect(self) -> None:
        """Connect; UnavailableError."""
        made = await asyncio.gather(
            *(self._connect() for _ in range(self._plan.connections)), return_exceptions=True
        )  # all have ended, whatever came of them
        self._connections = [one for one in made if isinstance(one, Connection)]
        failed = next((one for one in made if isinstance(one, BaseException)), None)
        if failed is not None:
            self._close()
            raise UnavailableError(f"--target {self._plan.target}: {failed}") from failed

    async def run(self, begin_ns: int, report: Callable[[Report], Any]) -> None:
        """Load the server from `warm_s` before `begin_ns` on, then wait for the last answers."""
        plan = self._plan
        self._end_ns = begin_ns + int(plan.duration_s * 1e9)
        self._recorder = Recorder(begin_ns, self._end_ns, plan.slice_s)
        for connection in self._connections:
            connection.begin(self._recorder)
        start_ns = begin_ns - int(plan.warm_s * 1e9)
        await asyncio.sleep(max(0.0, (start_ns - now_ns()) / 1e9))
        reporting = asyncio.get_running_loop().create_task(self._tell(report))
        if isinstance(plan.pacing, Open):
            rate = plan.pacing.rate / plan.processes
            seed = plan.seed * 1_000 + self._number + 500
            await self._open(arrivals(rate, start_ns, self._end_ns, seed), begin_ns)
        else:
            self._fill(plan.pacing)
            await asyncio.sleep(max(0.0, (self._end_ns - now_ns()) / 1e9))
        await self._finish()
        reporting.cancel()
        with suppress(asyncio.CancelledError):
            await reporting
        report(self._recorder.report(last=True))
        self._close()

    def freed(self, connection: Connection, calls: int) -> None:
        """Send the next ones."""
        if self._ending:
            return
        if isinstance(self._plan.pacing, Closed):
            self._backlog.extend([now_ns()] * calls)
        if self._backlog:
            self._pump(connection)

    def closed(self, connection: Connection, unprocessed: Sequence[int]) -> None:
        """Make another connection in its place; what still runs on it may end."""
        self._backlog.extendleft(reversed(unprocessed))
        if connection not in self._connections:  # a second GOAWAY
            self._pump()
            return
        self._connections.remove(connection)
        self._leaving = [one for one in self._leaving if one.running] + [connection]
        if self._ending:
            return
        task = asyncio.get_running_loop().create_task(self._renew())
        self._renewing.add(task)
        task.add_done_callback(self._renewing.discard)

    async def _open(self, pieces: Iterator[Any], begin_ns: int) -> None:
        recorder, backlog = self._recorder, self._backlog
        warm = True
        for piece in pieces:
            recorder.offered += int((piece >= begin_ns).sum())
            due, position = piece.tolist(), 0
            while position < len(due):
                now = now_ns()
                reached = bisect_right(due, now, position)
                if reached > position:
                    if warm and now >= begin_ns:  # what a slow server has not been sent of the warm-up never is
                        warm = False
                        while backlog and backlog[0] < begin_ns:
                            backlog.popleft()
                    if not backlog:
                        recorder.late.append(now - due[position])
                    backlog.extend(due[position:reached])
                    position = reached
                    self._pump()
                    if position == len(due):
                        break
                wait = due[position] - now_ns()
                await asyncio.sleep((wait - _SPIN_NS / 2) / 1e9 if wait > _SPIN_NS else 0)

    def _fill(self, pacing: Closed) -> None:
        share, more = divmod(pacing.running, self._plan.processes)
        self._backlog.extend([now_ns()] * (share + (self._number < more)))
        self._pump()

    def _pump(self, freed: Connection | None = None) -> None:
        """Send what is due: on the connection that has room now, or spread over all, the next one's turn first."""
        backlog = self._backlog
        while backlog:
            if freed is not None and freed.room:
                free = [freed]
            else:
                self._turn += 1
                at = self._turn % max(1, len(self._connections))
                free = [one for one in self._connections[at:] + self._connections[:at] if one.room]
            if not free:
                return
            share = -(-len(backlog) // len(free))
            for connection in free:
                count = min(share, connection.room, len(backlog))
                if count:
                    connection.send([backlog.popleft() for _ in range(count)])

    async def _finish(self) -> None:
        """Wait for the answers that are missing; what was never sent is said apart."""
        self._ending = True
        self._recorder.unsent += len(self._backlog) if isinstance(self._plan.pacing, Open) else 0
        self._backlog.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._plan.timeout_s):
                while any(one.running for one in self._all()):  # noqa: ASYNC110 - no event for each call that ends
                    await asyncio.sleep(_LOOK_S)
        for connection in self._all():
            connection.give_up(_UNANSWERED)

    async def _tell(self, report: Callable[[Report], Any]) -> None:
        while True:
            await asyncio.sleep(_REPORT_S)
            report(self._recorder.report())

    async def _connect(self) -> Connection:
        plan, loop = self._plan, asyncio.get_running_loop()
        secure = _context(plan) if plan.certificates is not None else None
        connection = Connection(plan, self._requests, self._largest, self._recorder, self)
        try:
            async with asyncio.timeout(_CONNECT_S):
                await loop.create_connection(lambda: connection, plan.host, plan.port, ssl=secure)
                await connection.ready
        except TimeoutError:
            connection.close()
            raise NearlineError(f"no settings of HTTP/2 within {_CONNECT_S:g} s") from None
        except OSError as error:
            raise NearlineError(str(error)) from error
        except NearlineError:
            connection.close()
            raise
        return connection

    async def _renew(self) -> None:
        while not self._ending:
            try:
                made = await self._connect()
            except NearlineError:
                await asyncio.sleep(_AGAIN_S)
                continue
            self._connections.append(made)
            self._pump()
            return

    def _close(self) -> None:
        self._ending = True
        for task in self._renewing:
            task.cancel()
        for connection in self._all():
            connection.close()

    def _all(self) -> list[Connection]:
        return [*self._connections, *self._leaving]


def _context(plan: Plan) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(plan.certificates) if plan.certificates else None)
    context.set_alpn_protocols(["h2"])
    return context
