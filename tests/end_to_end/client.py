"""A client with generated stubs, and a load that goes on while things happen."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import grpc

from protos.nearline.v1 import recommender_pb2, recommender_pb2_grpc
from tests.end_to_end.waiting import wait_until

NEARLINE, ONLINE, FALLBACK = (
    recommender_pb2.FROM_NEARLINE,
    recommender_pb2.FROM_ONLINE,
    recommender_pb2.FROM_FALLBACK,
)


_PAUSE_S = 0.004
"""Leaves the machine to what happens meanwhile."""
PATIENCE_S = 60
"""Deadline of a call: for what hangs, other work on the machine is no failure."""
CONNECTIONS = 24
"""The kernel spreads them over two serving workers: one that is asked by none of them is one in ten million."""


def channel_to(address: str) -> grpc.Channel:
    """A connection of its own: by default grpc shares one among all channels of a process."""
    return grpc.insecure_channel(address, options=(("grpc.use_local_subchannel_pool", 1),))


def recommend(address: str, model: str, entity: str, **wanted: Any) -> recommender_pb2.RecommendResponse:
    """One request."""
    with channel_to(address) as channel:
        stub: Any = recommender_pb2_grpc.RecommenderStub(channel)
        request = recommender_pb2.RecommendRequest(objective=model, entity_id=entity, **wanted)
        answer: recommender_pb2.RecommendResponse = stub.Recommend(request, timeout=PATIENCE_S, wait_for_ready=True)
        return answer


def wait_for_version(address: str, model: str, version: int, entity: str = "ann") -> None:
    """Wait until every serving worker answers by it.

    A worker's Recommend goes over to a version that is READY only when it has the predictions of active entities.
    """
    wait_until(
        lambda: everywhere(lambda: recommend(address, model, entity).version == version),
        f"answers by version {version} of {model}",
    )


def everywhere(holds: Callable[[], bool]) -> bool:
    """Tell whether it holds at every serving worker, of what asks by a connection of its own each time."""
    return all(holds() for _ in range(CONNECTIONS))


class Load:
    """Threads that ask again and again, until the end of the `with`. Each has a connection of its own."""

    def __init__(self, address: str, model: str, threads: int = 4) -> None:
        self._address = address
        self._model = model
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(f"e{n}",), daemon=True) for n in range(threads)]
        self._lock = threading.Lock()
        self.versions: Counter[int] = Counter()
        self.failures: list[grpc.RpcError] = []
        self.mixed: list[recommender_pb2.RecommendResponse] = []

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(2 * PATIENCE_S)

    @property
    def answered(self) -> int:
        """Answers so far."""
        with self._lock:
            return sum(self.versions.values())

    def wait_for(self, version: int, answers: int) -> None:
        """Wait until so many answers of a version have come from now on."""
        already = self.versions[version]
        wait_until(lambda: self.versions[version] - already >= answers, f"{answers} more answers of version {version}")

    def _ask(self, entity: str) -> None:
        with channel_to(self._address) as channel:
            stub: Any = recommender_pb2_grpc.RecommenderStub(channel)
            request = recommender_pb2.RecommendRequest(objective=self._model, entity_id=entity)
            while not self._stopping.wait(_PAUSE_S):
                try:
                    answer = stub.Recommend(request, timeout=PATIENCE_S)
                except grpc.RpcError as error:
                    with self._lock:
                        self.failures.append(error)
                    time.sleep(0.01)
                    continue
                with self._lock:
                    self.versions[answer.version] += 1
                    if not all(item.startswith(f"v{answer.version}-") for item in answer.item_ids):
                        self.mixed.append(answer)
