"""Runs requests together; where that fails, halves are tried, so that only the bad ones get the error."""

from collections.abc import Sequence
from typing import Any

from serving.models.loaded import LoadedModel
from serving.recommend.queue import Waiting, Work

TOO_LATE = "deadline: passed before the model could run"
_FAILURES = 32
"""Failed runs that one call bears: enough to find a bad row or two, and no more for a model that always fails."""


def checked(work: Work, loaded: LoadedModel, requests: Sequence[Waiting], rows: int) -> Sequence[Any]:
    """Return a result for each request; what `work` raises, RuntimeError where it returned another number of them."""
    results = work.run(loaded, requests, rows)
    if len(results) != len(requests):
        raise RuntimeError(f"run: expected {len(requests)} results, got {len(results)}")
    return results


def one_by_halves(work: Work, loaded: LoadedModel, requests: Sequence[Waiting], rows: int) -> list[Any]:
    """Return a result for each request, or the exception that its run raised."""
    found: list[Any] = [None] * len(requests)
    waiting = [(0, len(requests), rows)]
    failures = 0
    last: Exception | None = None
    while waiting:
        start, end, rows = waiting.pop()
        part = requests[start:end]
        if last is not None and failures >= _FAILURES:
            found[start:end] = [last] * len(part)
            continue
        try:
            found[start:end] = checked(work, loaded, part, rows)
        except Exception as error:  # noqa: BLE001 - the waiting request gets it
            last = error
            failures += 1
            if len(part) == 1:
                found[start] = error
                continue
            middle = (start + end) // 2
            for first, after in ((middle, end), (start, middle)):
                waiting.append((first, after, sum(request.rows for request in requests[first:after])))
    return found
