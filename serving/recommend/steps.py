"""A use case as a generator of what it needs, and both ways to run it: waiting in a coroutine, or told by callbacks.

So there is one piece of code that decides, whoever waits for it. A step is keys, which are answered with their values,
or a Run, which is answered with its result; what goes wrong is raised where the generator yields. A generator that
nobody waits for any more is closed.
"""

from collections.abc import Callable, Generator
from typing import Any, NamedTuple, Protocol

from serving.errors import NearlineError
from serving.models.loaded import LoadedModel
from serving.recommend.batcher import Batcher
from serving.recommend.queue import Waiting, Work
from serving.store.port import Key, StoreReader


class Run(NamedTuple):
    """A request to the batcher; `size`: bytes that the item holds. The generator holds a lease on the version."""

    loaded: LoadedModel
    work: Work
    item: Any
    size: int
    deadline: float | None


Step = list[Key] | Run
Steps = Generator[Step, Any, bytes]


class Teller(Protocol):
    """Who waits for the end."""

    def give(self, message: bytes) -> None:
        """Take the answer."""
        ...

    def fail(self, error: Exception) -> None:
        """Take what was raised."""
        ...


async def waited(steps: Steps, store: StoreReader, batcher: Batcher) -> bytes:
    """Run to the end; return the answer, or raise what the generator raises."""
    try:
        step = next(steps)
        while True:
            try:
                got = await (_run(step, batcher) if isinstance(step, Run) else _read(step, store))
            except NearlineError as error:
                step = steps.throw(error)
            else:
                step = steps.send(got)
    except StopIteration as end:
        answer: bytes = end.value
        return answer
    finally:
        steps.close()


async def _read(keys: list[Key], store: StoreReader) -> list[bytes | None]:
    found = store.read_now(keys)
    return found if found is not None else await store.read(keys)


async def _run(run: Run, batcher: Batcher) -> Any:
    loaded, work, item, size, deadline = run
    return await batcher.submit(loaded, work, item, size=size, deadline=deadline)


def begun(steps: Steps, store: StoreReader, batcher: Batcher, told: Teller) -> Callable[[], None] | None:
    """Run until a Run has to be waited for; return what is to be called when nobody waits any more.

    `told` gets the answer, or what the generator raises; None, and nothing is told, if the store has to be waited for.
    """
    run = _Begun(steps, store, batcher, told)
    return run.abandon if run.go(None) else None


class _Begun:
    """See queue.Answer."""

    __slots__ = ("_batcher", "_over", "_steps", "_store", "_told")

    def __init__(self, steps: Steps, store: StoreReader, batcher: Batcher, told: Teller) -> None:
        self._steps = steps
        self._store = store
        self._batcher = batcher
        self._told = told
        self._over = False

    def go(self, got: Any, error: Exception | None = None) -> bool:
        """Go on; False where the store has to be waited for."""
        steps = self._steps
        while True:
            try:
                step = steps.send(got) if error is None else steps.throw(error)
            except StopIteration as end:
                self._over = True
                self._told.give(end.value)
                return True
            except Exception as raised:  # noqa: BLE001 - whoever waits gets it
                self._over = True
                self._told.fail(raised)
                return True
            got, error = None, None
            try:
                if isinstance(step, Run):
                    loaded, work, item, size, deadline = step
                    self._batcher.add(loaded, work, Waiting(item, 1, size, deadline, self))
                    return True
                got = self._store.read_now(step)
            except NearlineError as raised:
                error = raised
                continue
            if got is None:
                self.abandon()
                return False

    def done(self) -> bool:
        return self._over

    def set_result(self, result: Any) -> None:
        self._go(result, None)

    def set_exception(self, error: Exception) -> None:
        self._go(None, error)

    def _go(self, got: Any, error: Exception | None) -> None:
        if self._over:
            return
        try:
            if not self.go(got, error):
                raise RuntimeError("store: expected a value at once, as for the first read")
        except Exception as defect:
            if self._over:
                raise  # nobody waits who could be told
            self._over = True
            self._steps.close()
            self._told.fail(defect)

    def abandon(self) -> None:
        if not self._over:
            self._over = True
            self._steps.close()
