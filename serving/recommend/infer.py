"""The use case ModelInfer: the tensors of one model, checked against its signature before anything runs."""

import asyncio
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from numpy.typing import NDArray

from serving.bundles.manifest import Tensor
from serving.errors import InvalidRequestError, ModelInputError, NotFoundError, UnavailableError
from serving.models.loaded import LoadedModel
from serving.models.table import ActiveTable
from serving.recommend.batcher import Batcher
from serving.recommend.given import Given, outputs_of, rows_of
from serving.recommend.queue import Waiting
from serving.recommend.tensor_runs import Chunk, TensorRuns

_PLANS = 1_000


@dataclass(frozen=True, eq=False, slots=True)
class Wanted:
    """All of a request but its values; one object for requests that are alike, since it is known by its identity.

    version: None = the main one. outputs: none = all.
    """

    model: str
    version: int | None
    inputs: tuple[Given, ...]
    outputs: tuple[str, ...] = ()


class Inferred(NamedTuple):
    """The answer, and which version gave it."""

    version: int
    tensors: tuple[Tensor, ...]
    arrays: list[NDArray[Any]]

    @property
    def outputs(self) -> list[tuple[Tensor, NDArray[Any]]]:
        """What each output is, and its values."""
        return list(zip(self.tensors, self.arrays, strict=True))


@dataclass(frozen=True, slots=True)
class Signature:
    """What a served model takes and gives."""

    versions: tuple[int, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


class Teller(Protocol):
    """Who waits for an answer."""

    def give(self, inferred: Inferred) -> None:
        """Take the answer."""
        ...

    def fail(self, error: Exception) -> None:
        """Take the error."""
        ...


class _Plan(NamedTuple):
    """How a request is run by one version, which it does not keep in memory, in one generation of the table."""

    generation: int
    loaded: Callable[[], LoadedModel | None]
    outputs: tuple[Tensor, ...]
    work: TensorRuns
    rows: int


class Inference:
    """Used on the event loop of a serving worker."""

    def __init__(self, table: ActiveTable, batcher: Batcher) -> None:
        self._table = table
        self._batcher = batcher
        self._plans: dict[Wanted, _Plan] = {}

    async def infer(
        self, wanted: Wanted, chunks: tuple[Chunk, ...], size: int, deadline: float | None = None
    ) -> Inferred:
        """Run a model, as `begin` does."""
        told = _Future(asyncio.get_running_loop().create_future())
        abandon = self.begin(wanted, chunks, size, deadline, told)
        try:
            return await told.future
        finally:
            abandon()

    def begin(
        self, wanted: Wanted, chunks: tuple[Chunk, ...], size: int, deadline: float | None, told: Teller
    ) -> Callable[[], None]:
        """Let a model run; return what is to be called when nobody waits any more.

        chunks: the values of each input, of the size that its shape says (see tensor_runs.py); `size` bytes in all.
        InvalidRequestError names the tensor, what was expected and what came; what only the graph can tell (an index
        beyond its table) is told as one, too, in the runtime's words.
        """
        abandon = self._begin(wanted, chunks, size, deadline, told, 1)
        assert abandon is not None  # noqa: S101 - one can always be by itself
        return abandon

    def begin_all(
        self, wanted: Wanted, chunks: tuple[Chunk, ...], size: int, deadline: float | None, told: Teller, calls: int
    ) -> Callable[[], None] | None:
        """As `begin`, for several calls that want the same: the values of each input are those of all, in order.

        So are those of the answer, whose arrays have the rows of all. None = the model does not run so many rows
        together, and nothing was begun.
        """
        return self._begin(wanted, chunks, size, deadline, told, calls)

    def _begin(
        self, wanted: Wanted, chunks: tuple[Chunk, ...], size: int, deadline: float | None, told: Teller, calls: int
    ) -> Callable[[], None] | None:
        generation = self._table.generation
        plan = self._plans.get(wanted)
        loaded = plan.loaded() if plan is not None and plan.generation == generation else None
        if loaded is None or not loaded.acquire():
            plan, loaded = None, self._table.acquire(wanted.model, version=wanted.version)
        try:
            if plan is None:
                plan = self._plan(wanted, loaded, generation)
            rows = plan.rows * calls
            if calls > 1 and (plan.work.alone or rows > self._batcher.most(plan.work)):
                loaded.release()
                return None
            asked = _Asked(loaded, plan.outputs, told)
            self._batcher.add(loaded, plan.work, Waiting(chunks, rows, size, deadline, asked, calls))
        except BaseException:
            loaded.release()
            raise
        return asked.abandon

    def ready(self, model: str, version: int | None) -> bool:
        """Tell whether a model, or that version of it, serves."""
        try:
            with self._table.lease(model, version=version):
                return True
        except (NotFoundError, UnavailableError):
            return False

    def signature(self, model: str, version: int | None) -> Signature:
        """Return what a model takes and gives; NotFoundError or UnavailableError."""
        with self._table.lease(model, version=version) as loaded:
            versions = tuple(sorted(self._table.lookup(model).versions))
            return Signature(versions, loaded.session.inputs, loaded.session.outputs)

    def _plan(self, wanted: Wanted, loaded: LoadedModel, generation: int) -> _Plan:
        session = loaded.session
        outputs = outputs_of(session.outputs, wanted.outputs)
        rows = rows_of(session.inputs, wanted.inputs)
        names = tuple(tensor.name for tensor in outputs)
        work = self._batcher.works.tensors(loaded, wanted.inputs, names)
        plan = _Plan(generation, weakref.ref(loaded), outputs, work, rows)
        if len(self._plans) >= _PLANS:
            self._plans.clear()
        self._plans[wanted] = plan
        return plan


class _Asked:
    """See queue.Answer: holds a lease on the version until there is an answer, or nobody waits for it."""

    __slots__ = ("_loaded", "_outputs", "_over", "_told")

    def __init__(self, loaded: LoadedModel, outputs: tuple[Tensor, ...], told: Teller) -> None:
        self._loaded = loaded
        self._outputs = outputs
        self._told = told
        self._over = False

    def done(self) -> bool:
        return self._over

    def set_result(self, arrays: list[NDArray[Any]]) -> None:
        self.abandon()
        self._told.give(Inferred(self._loaded.version, self._outputs, arrays))

    def set_exception(self, error: Exception) -> None:
        self.abandon()
        if isinstance(error, ModelInputError):
            error = InvalidRequestError("inputs", "values that the model takes", f"an error: {error}")
        self._told.fail(error)

    def abandon(self) -> None:
        if not self._over:
            self._over = True
            self._loaded.release()


class _Future:
    """A Teller for a coroutine."""

    def __init__(self, future: "asyncio.Future[Inferred]") -> None:
        self.future = future

    def give(self, inferred: Inferred) -> None:
        if not self.future.done():  # cancelled, and its coroutine has not run since
            self.future.set_result(inferred)

    def fail(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)
