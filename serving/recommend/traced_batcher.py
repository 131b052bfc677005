"""A batcher whose runs are spans of the requests that wait for them. In place of Batcher where there is tracing."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

from serving.models.loaded import LoadedModel
from serving.recommend.batcher import Batcher
from serving.recommend.queue import Queue, Waiting, Work
from serving.telemetry.tracing import Tracing

_Origins = dict["asyncio.Future[Any]", tuple[Any, int]]
"""By a request's future answer: the span that it is a part of, and when it began to wait."""


class TracedBatcher(Batcher):
    """See Batcher. A run is a stage of each request in it, so that every trace shows it."""

    def __init__(self, tracing: Tracing, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._tracing = tracing
        self._origins: _Origins = {}

    def submit(self, loaded: LoadedModel, work: Work, item: Any, **more: Any) -> "asyncio.Future[Any]":
        """See Batcher."""
        answer = super().submit(loaded, work, item, **more)
        origin = self._tracing.current()
        if origin is not None:
            self._origins[answer] = (origin, time.time_ns())
            answer.add_done_callback(self._origins.pop)
        return answer

    def _here(self, queue: Queue, work: Work, requests: list[Waiting], rows: int) -> bool:
        return super()._here(queue, _TracedWork(work, self._tracing, self._origins), requests, rows)


class _TracedWork:
    """See queue.Work. Runs on the loop or in a thread."""

    def __init__(self, work: Work, tracing: Tracing, origins: Mapping["asyncio.Future[Any]", tuple[Any, int]]) -> None:
        self.pace = work.pace
        self.alone = work.alone
        self._work = work
        self._tracing = tracing
        self._origins = origins

    def run(self, loaded: LoadedModel, requests: Sequence[Waiting], rows: int) -> Sequence[Any]:
        found = (self._origins.get(request.answer) for request in requests)
        origins = [origin for origin in found if origin is not None]
        began, error = time.time_ns(), ""
        try:
            return self._work.run(loaded, requests, rows)
        except Exception as caught:
            error = str(caught)
            raise
        finally:
            if origins:
                self._tell(loaded, origins, (began, time.time_ns()), {"requests": len(requests), "rows": rows}, error)

    def _tell(
        self,
        loaded: LoadedModel,
        origins: Sequence[tuple[Any, int]],
        times_ns: tuple[int, int],
        batch: Mapping[str, int],
        error: str,
    ) -> None:
        """The first request's span of the run has links to the others, and theirs to it."""
        about: dict[str, str | int | float] = {"nearline.model": loaded.model, "nearline.version": loaded.version}
        about |= {f"nearline.batch.{name}": value for name, value in batch.items()}
        first = None
        for span, since in origins:
            waited = {"nearline.batch.wait_ms": (times_ns[0] - since) / 1e6}
            links = [first] if first is not None else [other for other, _ in origins[1:]]
            told = self._tracing.stage(span, "nearline.run", times_ns, {**about, **waited}, links=links, error=error)
            first = first or told
