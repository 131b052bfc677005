"""Requests that arrive together run as one ONNX batch a version: whatever came while the last one ran is the next.

No timer, so no added latency while idle. A run that is surely short happens on the loop itself, since a thread would
take longer to wake than it takes to run; all others in threads, at most one a version, so that the loop stays live and
a slow model costs the others no more than its share of the core. Versions take turns.
"""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any

import structlog

from serving.errors import ExpiredError, OverloadedError
from serving.models.loaded import LoadedModel
from serving.recommend.attempts import TOO_LATE, checked
from serving.recommend.backlog import Backlog
from serving.recommend.queue import Bounds, Queue, Run, Waiting, Work
from serving.recommend.row_counts import RowCounts
from serving.recommend.threads import Ended, Threads
from serving.recommend.works import Works
from serving.telemetry.metrics import Metrics

log = structlog.get_logger()

_COUNTERS = 1_000
_TICK_S, _LONG_TICK_S, _LONGEST_TICK_S = 0.002, 0.01, 0.05
"""So long runs may keep the loop, together, before it looks at its sockets, in seconds of a core.

Longer, up to the second, where much waits: to read a few requests of each connection costs nearly what many do, and who
comes then has to wait anyway. Longer, up to the third, if the loop took long to read: an overloaded one has most of its
time for runs, and does not spend it on requests that it has to refuse.
"""
_RUNS = 3
"""So many times what the loop took to read."""
_PART = 1 / 16
"""Of what waits, in a tick."""
INLINE_S = 0.001
_ENOUGH = 16
"""Rows of a run, from which on more of them make a row not much cheaper: what a run costs beside them is shared."""
_GATHERED = 3
"""So many times `inline_s` may a run of so many rows keep the loop: in parts, in turn, it would for longer."""


class Batcher:
    """Used on one event loop. The caller holds a lease on the version until its answer is there.

    max_rows: of a run. inline_s: longer runs happen in a thread; 0 = all do.
    """

    def __init__(
        self, metrics: Metrics, max_rows: int, *, inline_s: float = INLINE_S, bounds: Bounds | None = None
    ) -> None:
        self.works = Works()
        self._metrics = metrics
        # Finding a metric by its labels takes longer than to count, and who is refused must cost little.
        self._refused = lru_cache(_COUNTERS)(metrics.online_refused.labels)
        self._max_rows = max_rows
        self._inline_s = inline_s
        self._bounds = bounds or Bounds()
        self._backlog = Backlog()
        self._queues: dict[LoadedModel, Queue] = {}
        self._ready: deque[Queue] = deque()
        """Queues that wait for their turn: those that run nothing in a thread."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._scheduled_at: tuple[float, float] | None = None
        """By the clock, and by the loop's own time."""
        self._counts = RowCounts(metrics)
        self._threads = Threads()

    def submit(
        self, loaded: LoadedModel, work: Work, item: Any, *, rows: int = 1, size: int = 0, deadline: float | None = None
    ) -> "asyncio.Future[Any]":
        """Return the future answer; OverloadedError at once, ExpiredError or what `work` raises later.

        size: bytes that the item holds. deadline: by the monotonic clock; None = there is none.
        """
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.add(loaded, work, Waiting(item, rows, size, deadline, answer))
        return answer

    def add(self, loaded: LoadedModel, work: Work, request: Waiting) -> None:
        """Let a request wait for its run; OverloadedError. All else its `answer` is told."""
        queue = self._queues.get(loaded)
        new = queue is None
        if queue is None:
            queue = Queue(loaded, self._backlog)
        now = 0.0 if request.deadline is None else time.monotonic()
        try:
            queue.put(work, request, self._bounds, now)
        except OverloadedError:
            if request.calls == 1:  # of several, each asks again
                self._refused(loaded.model, "overload").inc()
            raise
        if new:
            if not self._queues:
                self._backlog.begin(time.monotonic())
            self._queues[loaded] = queue
            self._backlog.queues = len(self._queues)
            self._ready.append(queue)
            self._loop = asyncio.get_running_loop()
            self._schedule()

    def most(self, work: Work) -> int:
        """Return how many rows are run at once: as many as are still run on the loop, if that is worth a run."""
        short = work.pace.rows(_GATHERED * self._inline_s)
        return short if _ENOUGH <= short < self._max_rows else self._max_rows

    def full(self, loaded: LoadedModel, left_s: float | None) -> bool:
        """Tell whether a run of a version is longer away than a request may wait; None = as long as any may."""
        queue = self._queues.get(loaded)
        most_s = self._bounds.wait_s if left_s is None else min(left_s, self._bounds.wait_s)
        return queue is not None and self._backlog.wait_s(queue.work_s) > most_s

    def close(self) -> None:
        """End the threads once their runs are over."""
        self.count()
        self._threads.close()

    def count(self) -> None:
        """Bring the metrics up to date."""
        self._counts.flush()

    def _schedule(self) -> None:
        if self._ready and self._scheduled_at is None and self._loop is not None:
            self._scheduled_at = time.perf_counter(), time.thread_time()
            self._loop.call_soon(self._tick)  # lets the other requests of this tick in

    def _tick(self) -> None:
        assert self._scheduled_at is not None  # noqa: S101 - or nobody would call
        (ready_at, began), now = self._scheduled_at, time.thread_time()
        self._scheduled_at = None
        self._backlog.heard(time.perf_counter() - ready_at)
        waiting_s = min(self._backlog.work_s * _PART, _LONG_TICK_S)
        until = now + max(_TICK_S, waiting_s, min(_RUNS * (now - began), _LONGEST_TICK_S))
        while self._ready:
            queue = self._ready.popleft()
            run = self._take(queue)
            if run is not None and not self._here(queue, *run):
                continue
            self._next(queue)
            if time.thread_time() > until:
                break
        self._schedule()

    def _take(self, queue: Queue) -> Run | None:
        if not queue:
            return None
        run = queue.take(self.most(queue.first), time.monotonic(), self._expired)
        if run is not None:
            assert self._loop is not None  # noqa: S101 - what waits has been added
            self._counts.add(self._loop, queue.loaded.model, run[2])
        return run

    def _next(self, queue: Queue) -> None:
        """Let a queue that runs nothing wait for its next turn, unless it is empty."""
        if queue:
            self._ready.append(queue)
        else:
            del self._queues[queue.loaded]
            self._backlog.queues = len(self._queues)

    def _here(self, queue: Queue, work: Work, requests: list[Waiting], rows: int) -> bool:
        """Run at once, if that is short; else in a thread, and return False."""
        longest_s = self._inline_s * (_GATHERED if rows >= _ENOUGH else 1)
        if not work.pace.known or work.pace.seconds(rows) > longest_s:
            self._there(queue, work, requests, rows)
            return False
        began = time.thread_time()
        try:
            results = checked(work, queue.loaded, requests, rows)
        except Exception as error:  # noqa: BLE001 - the waiting request gets it
            if len(requests) > 1:
                self._there(queue, work, requests, rows)
                return False
            results = [error]
        self._observe(work, rows, time.thread_time() - began)
        _answer(requests, results)
        return True

    def _there(self, queue: Queue, work: Work, requests: list[Waiting], rows: int) -> None:
        runs: list[Run] = [(work, requests, rows)]
        seconds = work.pace.seconds(rows)
        # A loop that has much to do comes late to hear of a run's end, and the thread has nothing to do until then.
        while seconds < self._backlog.late_s and (run := self._take(queue)) is not None:
            runs.append(run)
            seconds += run[0].pace.seconds(run[2])
        queue.running(max(seconds, 1e-9))
        assert self._loop is not None  # noqa: S101 - what runs has been added
        self._threads.begin(self._loop, queue.loaded, runs, partial(self._done, queue))

    def _done(self, queue: Queue, ended: Ended) -> None:
        self._backlog.heard(time.perf_counter() - ended.at)
        if ended.rows:
            self._observe(ended.work, ended.rows, ended.seconds)
        if ended.expired:
            self._refused(queue.loaded.model, "deadline").inc(ended.expired)
        _answer(ended.requests, ended.results)
        if ended.last:
            queue.running(0.0)
            self._next(queue)
            self._schedule()

    def _observe(self, work: Work, rows: int, seconds: float) -> None:
        work.pace.observe(rows, seconds)
        self._backlog.done(seconds, time.monotonic())

    def _expired(self, queue: Queue, request: Waiting) -> None:
        self._refused(queue.loaded.model, "deadline").inc(request.calls)
        _tell(request, ExpiredError(TOO_LATE))


def _answer(requests: Sequence[Waiting], results: Sequence[Any]) -> None:
    for request, result in zip(requests, results, strict=True):
        _tell(request, result)


def _tell(request: Waiting, result: Any) -> None:
    """One that cannot take its answer is a defect, and keeps neither the others nor the queue from going on."""
    try:
        if request.answer.done():
            return
        if isinstance(result, Exception):
            request.answer.set_exception(result)
        else:
            request.answer.set_result(result)
    except Exception:
        log.exception("online.defect")
