"""Requests that go on while a new version is published: every answer is compared with what its version must answer."""

import threading
import time
from collections import Counter
from types import TracebackType
from typing import Self

import grpc

from protos.nearline.v1 import recommender_pb2
from serving.demo.asking import Client
from serving.demo.expected import Expected
from serving.errors import NearlineError

_THREADS = 2
_WAIT_S = 60.0
_LOOK_S = 0.01


class Traffic:
    """Asks without a pause until the end of the `with`.

    `mixed`: answers that are not those of the version and the source that they name. `online`: how many were not made
    near-line. `first_at`: when an answer named a version first, by the monotonic clock.
    """

    def __init__(self, address: str, model: str, k: int, expected: Expected) -> None:
        self._target = (address, model, k)
        self._expected = expected
        self._entities = sorted(next(iter(expected.values())))
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask, args=(n,), daemon=True) for n in range(_THREADS)]
        self.answered: Counter[int] = Counter()
        self.failed = 0
        self.mixed = 0
        self.online = 0
        self.first_at: dict[int, float] = {}
        self.seconds = 0.0

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(_WAIT_S)
        self.seconds = time.monotonic() - self._began

    @property
    def total(self) -> int:
        """Answers of all versions."""
        return sum(self.answered.values())

    def wait_for(self, version: int, answers: int) -> None:
        """Wait until so many answers named that version; NearlineError when they do not come."""
        deadline = time.monotonic() + _WAIT_S
        while self.answered[version] < answers:
            if time.monotonic() > deadline:
                raise NearlineError(f"expected answers of version {version}, got {dict(self.answered)}")
            time.sleep(_LOOK_S)

    def _ask(self, first: int) -> None:
        with Client(*self._target) as client:
            turn = first
            while not self._stopping.is_set():
                entity = self._entities[turn % len(self._entities)]
                turn += _THREADS
                try:
                    answer = client.one(entity)
                except grpc.RpcError:
                    with self._lock:
                        self.failed += 1
                    continue
                right = self._expected.get((answer.version, answer.source), {}).get(entity)
                with self._lock:
                    self.answered[answer.version] += 1
                    self.first_at.setdefault(answer.version, time.monotonic())
                    self.online += answer.source == recommender_pb2.FROM_ONLINE
                    self.mixed += right is None or list(answer.item_ids) != list(right)
