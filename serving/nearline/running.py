"""Runs a version for many entities; where a run fails, halves are tried, so that only the bad ones go without."""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import structlog

from serving.errors import ModelError
from serving.models.answers import entry
from serving.models.loaded import LoadedModel
from serving.nearline.live import LiveVersion

log = structlog.get_logger()

ROWS = 1024
"""Rows of one run: larger batches gain nothing, and hold more memory."""
_FAILURES = 32
"""Failed runs that one call bears: enough to find a bad row or two, and no more for a model that always fails."""

Failed = Callable[[LoadedModel, ModelError], None]


class Row(NamedTuple):
    """An entity, its state, and the instant that it is to be computed for (ms; see serving/recipes)."""

    entity: bytes
    document: bytes
    instant: int


def run(version: LiveVersion, rows: Sequence[Row], failed: Failed) -> list[bytes | None]:
    """Return what to store for each row; None where there is no answer: nothing is known, or the model failed.

    The states are right without it: online may do better.
    """
    found: list[bytes | None] = [None] * len(rows)
    waiting = [(start, min(start + ROWS, len(rows))) for start in range(0, len(rows), ROWS)]
    failures = 0
    predictor = version.predictor
    while waiting and failures < _FAILURES:
        first, last = waiting.pop()
        part = rows[first:last]
        now_ms = time.time_ns() // 1_000_000
        try:
            answers = predictor.predict(
                [row.document for row in part], [row.instant for row in part], now_ms, predictor.settings.stored
            )
        except ModelError as error:
            failures += 1
            failed(version.loaded, error)
            loaded = version.loaded
            log.error("nearline.run", model=loaded.model, version=loaded.version, rows=len(part), error=str(error))
            if len(part) > 1:
                middle = (first + last) // 2
                waiting += [(first, middle), (middle, last)]
            continue
        found[first:last] = [None if answer is None else entry(answer, now_ms) for answer in answers]
    return found
