"""The load of one process: keeps its connections, and sends calls when they are due or when others end."""

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from serving.errors import NearlineError, UnavailableError
from serving.loadtest.arrivals import Instants, schedule
from serving.loadtest.backlog import Backlog
from serving.loadtest.connection import Connection
from serving.loadtest.dialing import Dialer
from serving.loadtest.plan import Closed, Open, Plan
from serving.loadtest.recorder import Recorder, Report, now_ns
from serving.loadtest.statuses import Status

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
        self._dialer = Dialer(plan, number)
        self._recorder = Recorder(0, 0, plan.slice_s)
        self._backlog = Backlog()
        self._leaving: list[Connection] = []
        self._ending = False
        self._renewing: set[asyncio.Task[None]] = set()

    async def connect(self) -> None:
        """Connect; UnavailableError."""
        made = await asyncio.gather(
            *(self._dialer.dial(self._recorder, self) for _ in range(self._plan.connections)), return_exceptions=True
        )  # all have ended, whatever came of them
        self._backlog.connections = [one for one in made if isinstance(one, Connection)]
        failed = next((one for one in made if isinstance(one, BaseException)), None)
        if failed is not None:
            self._close()
            raise UnavailableError(f"--target {self._plan.target}: {failed}") from failed

    async def run(self, begin_ns: int, report: Callable[[Report], Any]) -> None:
        """Load the server from `warm_s` before `begin_ns` on, then wait for the last answers."""
        plan = self._plan
        end_ns = begin_ns + int(plan.duration_s * 1e9)
        self._recorder = Recorder(begin_ns, end_ns, plan.slice_s)
        for connection in self._backlog.connections:
            connection.begin(self._recorder)
        start_ns = begin_ns - int(plan.warm_s * 1e9)
        await asyncio.sleep(max(0.0, (start_ns - now_ns()) / 1e9))
        reporting = asyncio.get_running_loop().create_task(self._tell(report))
        if isinstance(plan.pacing, Open):
            seed = plan.seed * 1_000 + self._number + 500
            due = schedule(plan.pacing, 1 / plan.processes, start_ns, begin_ns, end_ns, seed)
            await self._send_when_due(due, begin_ns)
        else:
            self._fill(plan.pacing)
            await asyncio.sleep(max(0.0, (end_ns - now_ns()) / 1e9))
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
            now = [now_ns()] * calls
            if not self._backlog and connection.room >= calls:  # the usual case, as cheap as it can be
                if calls:
                    connection.send(now)
                return
            self._backlog.add(now)
        if self._backlog:
            self._backlog.pump(connection)

    def closed(self, connection: Connection, unprocessed: Sequence[int]) -> None:
        """Make another connection in its place; what still runs on it may end."""
        self._backlog.put_back(unprocessed)
        if connection not in self._backlog.connections:  # a second GOAWAY
            self._backlog.pump()
            return
        self._backlog.connections.remove(connection)
        self._leaving = [one for one in self._leaving if one.running] + [connection]
        if self._ending:
            return
        task = asyncio.get_running_loop().create_task(self._renew())
        self._renewing.add(task)
        task.add_done_callback(self._renewing.discard)

    async def _send_when_due(self, pieces: Iterator[Instants], begin_ns: int) -> None:
        recorder, backlog = self._recorder, self._backlog
        patience_ns, warm = int(self._plan.timeout_s * 1e9), True
        for piece in pieces:
            recorder.offered += int((piece >= begin_ns).sum())
            due, position = piece.tolist(), 0
            while position < len(due):
                now = now_ns()
                reached = bisect_right(due, now, position)
                if reached > position:
                    if warm and now >= begin_ns:  # what a slow server has not been sent of the warm-up never is
                        warm = False
                        backlog.drop(begin_ns)
                    if not backlog:
                        recorder.late.append(now - due[position])
                    elif not warm:  # nor what nobody waits for any more
                        recorder.unsent += backlog.drop(now - patience_ns)
                    backlog.add(due[position:reached])
                    position = reached
                    backlog.pump()
                    if position == len(due):
                        break
                wait = due[position] - now_ns()
                await asyncio.sleep((wait - _SPIN_NS / 2) / 1e9 if wait > _SPIN_NS else 0)

    def _fill(self, pacing: Closed) -> None:
        share, more = divmod(pacing.running, self._plan.processes)
        self._backlog.add([now_ns()] * (share + (self._number < more)))
        self._backlog.pump()

    async def _finish(self) -> None:
        """Wait for the answers that are missing; what was never sent is said apart."""
        self._ending = True
        unsent = self._backlog.drop(1 << 63)
        self._recorder.unsent += unsent if isinstance(self._plan.pacing, Open) else 0
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

    async def _renew(self) -> None:
        while not self._ending:
            try:
                made = await self._dialer.dial(self._recorder, self)
            except NearlineError:
                await asyncio.sleep(_AGAIN_S)
                continue
            self._backlog.connections.append(made)
            self._backlog.pump()
            return

    def _close(self) -> None:
        self._ending = True
        for task in self._renewing:
            task.cancel()
        for connection in self._all():
            connection.close()

    def _all(self) -> list[Connection]:
        return [*self._backlog.connections, *self._leaving]
