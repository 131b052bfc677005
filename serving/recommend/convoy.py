"""Several generators of steps side by side: what they read is one read, and their runs are one request to the batcher.

Each decides for itself, as when it is alone (steps.py); what they share is the way.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from serving.errors import ExpiredError, NearlineError
from serving.recommend.batcher import Batcher
from serving.recommend.queue import Waiting
from serving.recommend.steps import Run, Steps
from serving.store.port import Key, StoreReader


class TellerAll(Protocol):
    """Who waits for all of them."""

    def give(self, found: Sequence[bytes | Exception | None]) -> None:
        """Take the answer of each, or what it raised, in order; None for those that have been told, or will be."""
        ...


class _Got(NamedTuple):
    """What one of them, by its number, goes on with."""

    at: int
    result: Any = None
    error: Exception | None = None


def begun_all(
    steps: Sequence[Steps], store: StoreReader, batcher: Batcher, told: TellerAll
) -> Callable[[], None] | None:
    """Run all until Runs have to be waited for; return what is to be called when nobody waits any more.

    None, and nothing is told, if the store has to be waited for.
    """
    convoy = _Convoy(steps, store, batcher, told)
    if convoy.go([_Got(at) for at in range(len(steps))]):
        return convoy.abandon
    convoy.abandon()
    return None


class _Convoy:
    def __init__(self, steps: Sequence[Steps], store: StoreReader, batcher: Batcher, told: TellerAll) -> None:
        self._steps = steps
        self._store = store
        self._batcher = batcher
        self._told = told
        self._untold: dict[int, Any] = {}
        self._going = set(range(len(steps)))
        self.over = False

    def go(self, found: list[_Got]) -> bool:
        """Go on; False where the store has to be waited for."""
        while found:
            reads: list[tuple[int, list[Key]]] = []
            runs: list[tuple[int, Run]] = []
            for got in found:
                step = self._step(got)
                if isinstance(step, Run):
                    runs.append((got.at, step))
                elif step is not None:
                    reads.append((got.at, step))
            values = self._read(reads)
            if values is None:
                return False
            found = values + self._run(runs)
        self._tell()
        return True

    def add(self, ats: Sequence[int], runs: Sequence[Run]) -> list[_Got]:
        """Let runs of one version wait as one; return what they go on with at once."""
        first, calls = runs[0], len(runs)
        deadlines = [run.deadline for run in runs if run.deadline is not None]
        deadline = max(deadlines) if len(deadlines) == calls else None
        item = first.item if calls == 1 else [run.item for run in runs]
        asked = _Asked(self, ats, runs)
        try:
            size = sum(run.size for run in runs)
            self._batcher.add(first.loaded, first.work, Waiting(item, calls, size, deadline, asked, calls))
        except NearlineError as error:
            if calls > 1:  # there may be room for some
                return [got for at, run in zip(ats, runs, strict=True) for got in self.add((at,), (run,))]
            return [_Got(ats[0], error=error)]
        return []

    def fail(self, error: Exception) -> None:
        """End those that have not been told."""
        if not self.over:
            for at in self._going:
                self._untold[at] = error
                self._steps[at].close()
            self._going.clear()
            self._tell()

    def abandon(self) -> None:
        """Nobody waits any more."""
        if not self.over:
            self.over = True
            for steps in self._steps:
                steps.close()

    def _tell(self) -> None:
        """Those that wait for another version need not wait for these."""
        untold, self._untold = self._untold, {}
        if untold and not self.over:
            self.over = not self._going
            self._told.give([untold.get(at) for at in range(len(self._steps))])

    def _step(self, got: _Got) -> list[Key] | Run | None:
        """Let one go on to its next step; None when it has ended."""
        steps = self._steps[got.at]
        try:
            return steps.send(got.result) if got.error is None else steps.throw(got.error)
        except StopIteration as end:
            self._untold[got.at] = end.value
        except Exception as raised:  # noqa: BLE001 - whoever waits gets it
            self._untold[got.at] = raised
        self._going.discard(got.at)
        return None

    def _read(self, reads: list[tuple[int, list[Key]]]) -> list[_Got] | None:
        if not reads:
            return []
        try:
            values = self._store.read_now([key for _, keys in reads for key in keys])
        except NearlineError as error:
            return [_Got(at, error=error) for at, _ in reads]
        if values is None:
            return None
        found, start = [], 0
        for at, keys in reads:
            end = start + len(keys)
            found.append(_Got(at, values[start:end]))
            start = end
        return found

    def _run(self, runs: list[tuple[int, Run]]) -> list[_Got]:
        alike: dict[tuple[int, int], list[tuple[int, Run]]] = {}
        for number, (at, run) in enumerate(runs):
            most = 1 if run.work.alone else self._batcher.most(run.work)
            alike.setdefault((id(run.work), number // most), []).append((at, run))
        return [got for part in alike.values() for got in self.add(*zip(*part, strict=True))]


class _Asked:
    """See queue.Answer: of those of a convoy that run together."""

    __slots__ = ("_ats", "_convoy", "_runs")

    def __init__(self, convoy: _Convoy, ats: Sequence[int], runs: Sequence[Run]) -> None:
        self._convoy = convoy
        self._ats = ats
        self._runs = runs

    def done(self) -> bool:
        return self._convoy.over

    def set_result(self, result: Any) -> None:
        results = (result,) if len(self._ats) == 1 else result
        self._go(lambda: [_Got(at, one) for at, one in zip(self._ats, results, strict=True)])

    def set_exception(self, error: Exception) -> None:
        if len(self._ats) == 1 or isinstance(error, ExpiredError):
            self._go(lambda: [_Got(at, error=error) for at in self._ats])
        else:  # it may be because of one of them
            pairs = zip(self._ats, self._runs, strict=True)
            self._go(lambda: [got for at, run in pairs for got in self._convoy.add((at,), (run,))])

    def _go(self, found: Callable[[], list[_Got]]) -> None:
        if self._convoy.over:
            return
        try:
            if not self._convoy.go(found()):
                raise RuntimeError("store: expected a value at once, as for the first read")
        except Exception as error:
            if self._convoy.over:
                raise  # nobody waits who could be told
            self._convoy.fail(error)
