"""Versions that are too slow to run in line with the events: each has one chunk under way, in a thread of its own.

ONNX Runtime lets go of the interpreter while it runs, so that a slow model costs the others only its share of the core.
"""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from serving.nearline.costs import Costs
from serving.nearline.live import LiveVersion
from serving.nearline.running import Failed, Row, run

_THREADS = 64


@dataclass(slots=True)
class Chunk:
    """Rows of one shard that are being computed. `overtaken`: entities that changed since, or are gone.

    `event_ms`: when the oldest event that it is about was appended; None = it is about none.
    """

    shard: int
    version: LiveVersion
    rows: Sequence[Row]
    event_ms: int | None = None
    began: float = field(default_factory=time.perf_counter)
    overtaken: set[bytes] = field(default_factory=set)
    found: list[bytes | None] = field(default_factory=list)


class Lanes:
    """At most one chunk a version. One thread, beside those that compute."""

    def __init__(self, costs: Costs, failed: Failed) -> None:
        self._costs = costs
        self._failed = failed
        self._busy: dict[bytes, tuple[Chunk, Future[list[bytes | None]]]] = {}
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="lane")

    def free(self, version: LiveVersion) -> bool:
        """Tell whether the version has nothing under way."""
        return version.key not in self._busy

    def begin(self, chunk: Chunk) -> None:
        """Compute a chunk. Its version must be held until it is over: takes a lease of its own."""
        version = chunk.version
        if not version.loaded.acquire():
            return
        future = self._threads.submit(run, version, chunk.rows, self._failed)
        future.add_done_callback(lambda _: version.loaded.release())
        self._busy[version.key] = (chunk, future)

    def overtake(self, shard: int, entities: Sequence[bytes]) -> None:
        """Tell that these entities changed."""
        for chunk, _ in self._busy.values():
            if chunk.shard == shard:
                chunk.overtaken.update(entities)

    def leave(self, shard: int) -> None:
        """Tell that the shard is not ours any more, or was read anew."""
        for chunk, _ in self._busy.values():
            if chunk.shard == shard:
                chunk.overtaken.update(row.entity for row in chunk.rows)

    def over(self) -> Iterator[Chunk]:
        """Yield, once, the chunks that are computed."""
        for key, (chunk, future) in list(self._busy.items()):
            if not future.done():
                continue
            del self._busy[key]
            self._costs.observe(key, len(chunk.rows), time.perf_counter() - chunk.began)
            chunk.found = future.result()
            yield chunk

    @property
    def busy(self) -> bool:
        """Whether anything is under way."""
        return bool(self._busy)

    def close(self) -> None:
        """Wait for nothing; what is under way is still due."""
        self._threads.shutdown(wait=False, cancel_futures=True)
