"""What waits for one version, and in which order it runs: the rule of fairness inside a model. No I/O, no threads."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

from serving.errors import OverloadedError
from serving.models.loaded import LoadedModel
from serving.models.pace import Pace
from serving.recommend.backlog import Backlog

_SHARE = 0.75
"""Of a request's time. A queue that is as long as deadlines allow would be late half of the time."""


class Answer(Protocol):
    """Where the outcome goes, as far as a future is needed for that. Used on the event loop."""

    def done(self) -> bool:
        """Whether nobody waits for it any more."""
        ...

    def set_result(self, result: Any, /) -> None:
        """Take what `Work.run` returned for it."""
        ...

    def set_exception(self, error: Exception, /) -> None:
        """Take the error."""
        ...


@dataclass(eq=False, slots=True)
class Waiting:
    """A request, or several as one: `calls`.

    `size`: bytes that it holds. `deadline`: by the monotonic clock; None = it waits for ever.
    """

    item: Any
    rows: int
    size: int
    deadline: float | None
    answer: Answer
    calls: int = 1


class Work(Protocol):
    """How requests that can share a run are run: those that were submitted with the same object, and only those.

    It lives longer than a tick and keeps what is learnt: `pace`. `alone`: its requests cannot share a run.
    """

    pace: Pace
    alone: bool

    def run(self, loaded: LoadedModel, requests: Sequence[Waiting], rows: int) -> Sequence[Any]:
        """Return a result for each request, which have so many rows together; ModelError."""
        ...


Run = tuple[Work, list[Waiting], int]
"""Requests that are run together, and how many rows they have."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What may wait for a version. `wait_s`: so long at most, by what its runs have taken up to now."""

    rows: int = 4096
    size: int = 64 << 20
    wait_s: float = 2.0


class _Group:
    """Requests that can share a run. `seconds`: what they are counted for in the backlog."""

    __slots__ = ("requests", "rows", "seconds")

    def __init__(self) -> None:
        self.requests: deque[Waiting] = deque()
        self.rows = 0
        self.seconds = 0.0


class Queue:
    """Of one version. Requests that can share a run are a group; the groups take turns."""

    __slots__ = ("_backlog", "_groups", "_running_s", "loaded", "rows", "size", "work_s")

    def __init__(self, loaded: LoadedModel, backlog: Backlog) -> None:
        self.loaded = loaded
        self.rows = self.size = 0
        self._backlog = backlog
        self._running_s = 0.0
        self.work_s = 0.0
        """Of what waits or runs, in seconds of a core."""
        self._groups: dict[Work, _Group] = {}

    def __bool__(self) -> bool:
        return bool(self._groups)

    @property
    def first(self) -> Work:
        """Whose turn it is; only of a queue that is not empty."""
        return next(iter(self._groups))

    def put(self, work: Work, request: Waiting, bounds: Bounds, now: float) -> None:
        """Add a request; OverloadedError when it would wait for too long, or take too much room.

        What finds nothing waiting is taken, however large it is.
        """
        if self._groups or self._running_s:
            self._check(work, request, bounds, now)
        self.rows += request.rows
        self.size += request.size
        group = self._groups.get(work)
        if group is None:
            group = self._groups[work] = _Group()
        group.requests.append(request)
        group.rows += request.rows
        self._count(group, work.pace.seconds(group.rows))

    def take(self, most: int, now: float, expired: "Callable[[Queue, Waiting], None]") -> Run | None:
        """Return the next run: its requests, and how many rows they have, at most `most` unless one has more.

        What nobody waits for any more is dropped; what is past its deadline goes to `expired`.
        """
        while self._groups:
            work = next(iter(self._groups))
            group = self._groups.pop(work)
            waiting = group.requests
            taken: list[Waiting] = []
            rows = 0
            while waiting and (not taken or (not work.alone and rows + waiting[0].rows <= most)):
                request = waiting.popleft()
                self.rows -= request.rows
                group.rows -= request.rows
                self.size -= request.size
                if request.answer.done():
                    continue
                if request.deadline is not None and request.deadline <= now:
                    expired(self, request)
                    continue
                taken.append(request)
                rows += request.rows
            if waiting:
                self._groups[work] = group  # behind the others
                self._count(group, work.pace.seconds(group.rows))
            else:
                self._count(group, 0.0)
            if taken:
                return work, taken, rows
        return None

    def running(self, seconds: float) -> None:
        """Know how long what runs now, in a thread, takes; 0 = nothing does."""
        self._add(seconds - self._running_s)
        self._running_s = seconds

    def _count(self, group: _Group, seconds: float) -> None:
        # What was added is what is taken away: paces change meanwhile.
        self._add(seconds - group.seconds)
        group.seconds = seconds

    def _add(self, seconds: float) -> None:
        self.work_s += seconds
        self._backlog.work_s += seconds

    def _check(self, work: Work, request: Waiting, bounds: Bounds, now: float) -> None:
        rows = self.rows + request.rows
        if rows > bounds.rows:
            self._refuse(f"expected at most {bounds.rows} rows waiting, got {rows}")
        size = self.size + request.size
        if size > bounds.size:
            self._refuse(f"expected at most {bounds.size} bytes waiting, got {size}")
        group, pace = self._groups.get(work), work.pace
        before_rows, before_s = (0, 0.0) if group is None else (group.rows, group.seconds)
        added_s = pace.seconds(before_rows + request.rows) - before_s
        wait_s = self._backlog.wait_s(self.work_s + added_s)
        left_s = bounds.wait_s
        if request.deadline is not None:
            run_s = pace.seconds(request.rows)
            left_s = min(left_s, run_s + (request.deadline - now - run_s) * _SHARE)
        if wait_s > left_s:
            words = f"expected an answer within {left_s:.2f} s, got a queue of {wait_s:.2f} s"
            # Others are told at the door, by what one row would wait: they need not have as many.
            self._refuse(words, self._backlog.wait_s(self.work_s + added_s / request.rows), bounds.wait_s)

    def _refuse(self, words: str, wait_s: float = 0.0, most_s: float = 0.0) -> NoReturn:
        name = f"model {self.loaded.model!r} version {self.loaded.version}"
        raise OverloadedError(f"{name}: {words}", wait_s, most_s, self.loaded.model)
