"""Runs in threads, for those that would keep the event loop."""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, NamedTuple

from serving.errors import ExpiredError
from serving.models.loaded import LoadedModel
from serving.recommend.attempts import TOO_LATE, one_by_halves
from serving.recommend.queue import Run, Waiting, Work

_THREADS = 64


class Ended(NamedTuple):
    """A run. `results`: one a request, or its error; so many `expired` before it began, which are not in `rows`.

    `seconds`: of a core. `at`: by the performance counter. `last`: nothing more of what was begun with it runs.
    """

    work: Work
    requests: Sequence[Waiting]
    results: Sequence[Any]
    rows: int
    expired: int
    seconds: float
    at: float
    last: bool


class Threads:
    """What ends is told to the loop."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="online")

    def begin(
        self,
        loop: asyncio.AbstractEventLoop,
        loaded: LoadedModel,
        runs: Sequence[Run],
        ended: Callable[[Ended], None],
    ) -> None:
        """Have some runs of a version happen, one after the other."""
        self._pool.submit(_run_all, loop, loaded, runs, ended)

    def close(self) -> None:
        """End the threads once their runs are over."""
        self._pool.shutdown(wait=False)


def _run_all(
    loop: asyncio.AbstractEventLoop, loaded: LoadedModel, runs: Sequence[Run], ended: Callable[[Ended], None]
) -> None:
    for number, (work, requests, _) in enumerate(runs, 1):
        # A thread's own time: others may hold the interpreter for longer than a run takes.
        began = time.thread_time()
        results, rows, expired = _in_time(work, loaded, requests)
        seconds, at = time.thread_time() - began, time.perf_counter()
        last = number == len(runs)
        with suppress(RuntimeError):  # the loop has ended, and so have those who waited
            loop.call_soon_threadsafe(ended, Ended(work, requests, results, rows, expired, seconds, at, last))


def _in_time(work: Work, loaded: LoadedModel, requests: Sequence[Waiting]) -> tuple[list[Any], int, int]:
    """Run those who still have time: others have run since they were taken. Results, rows, how many expired."""
    now = time.monotonic()
    late = {number for number, one in enumerate(requests) if one.deadline is not None and one.deadline <= now}
    kept = [one for number, one in enumerate(requests) if number not in late]
    rows = sum(one.rows for one in kept)
    found = iter(one_by_halves(work, loaded, kept, rows) if kept else ())
    results = [ExpiredError(TOO_LATE) if number in late else next(found) for number in range(len(requests))]
    return results, rows, sum(requests[number].calls for number in late)
