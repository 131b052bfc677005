"""A batcher whose runs are spans of the requests that wait for them. In place of Batcher where there is tracing."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from serving.models.loaded import LoadedModel
from serving.recommend.batcher import Batcher
from serving.recommend.queue import Answer, Queue, Run, Waiting, Work
from serving.telemetry.tracing import Tracing


class TracedBatcher(Batcher):
    """See Batcher. A run is a stage of each request in it, so that every trace shows it."""

    def __init__(self, tracing: Tracing, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._tracing = tracing

    def add(self, loaded: LoadedModel, work: Work, request: Waiting) -> None:
        """See Batcher."""
        span = self._tracing.current()
        if span is not None:
            request.answer = _TracedAnswer(request.answer, span)
        super().add(loaded, work, request)

    def _take(self, queue: Queue) -> Run | None:
        run = super()._take(queue)
        return run and (_TracedWork(run[0], self._tracing), run[1], run[2])


class _TracedAnswer:
    """See queue.Answer; it remembers what it is a part of, and when it began to wait."""

    __slots__ = ("done", "set_exception", "set_result", "since_ns", "span")

    def __init__(self, answer: Answer, span: Any) -> None:
        self.done = answer.done
        self.set_result = answer.set_result
        self.set_exception = answer.set_exception
        self.span = span
        self.since_ns = time.time_ns()


class _TracedWork:
    """See queue.Work. Runs on the loop or in a thread."""

    def __init__(self, work: Work, tracing: Tracing) -> None:
        self.pace = work.pace
        self.alone = work.alone
        self._work = work
        self._tracing = tracing

    def run(self, loaded: LoadedModel, requests: Sequence[Waiting], rows: int) -> Sequence[Any]:
        began, error = time.time_ns(), ""
        try:
            return self._work.run(loaded, requests, rows)
        except Exception as caught:
            error = str(caught)
            raise
        finally:
            answers = [request.answer for request in requests if isinstance(request.answer, _TracedAnswer)]
            if answers:
                self._tell(loaded, answers, (began, time.time_ns()), {"requests": len(requests), "rows": rows}, error)

    def _tell(
        self,
        loaded: LoadedModel,
        answers: Sequence[_TracedAnswer],
        times_ns: tuple[int, int],
        batch: Mapping[str, int],
        error: str,
    ) -> None:
        """The first request's span of the run has links to the others, and theirs to it."""
        about: dict[str, str | int | float] = {"nearline.model": loaded.model, "nearline.version": loaded.version}
        about |= {f"nearline.batch.{name}": value for name, value in batch.items()}
        first = None
        for answer in answers:
            waited = {"nearline.batch.wait_ms": (times_ns[0] - answer.since_ns) / 1e6}
            links = [first] if first is not None else [other.span for other in answers[1:]]
            told = self._tracing.stage(
                answer.span, "nearline.run", times_ns, {**about, **waited}, links=links, error=error
            )
            first = first or told
