"""Workers that tests speak for, on the status topic."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from protos.nearline.v1 import status_pb2
from protos.topics import fault_key, instance_key, presence_key
from serving.bus.port import Bus
from tests.builders.buses import TOPICS
from tests.builders.waiting import DEADLINE_S

DIGEST = "d" * 64


@contextmanager
def beating(connect: Callable[[], Bus], topic: str, *workers: status_pb2.Presence) -> Iterator[None]:
    """These workers tell that they are there, again and again, and have done so at least once."""
    beats = [
        (presence_key(worker.node, worker.worker), status_pb2.StatusRecord(presence=worker).SerializeToString())
        for worker in workers
    ]
    begun, stopping = threading.Event(), threading.Event()

    def run() -> None:
        bus = connect()
        while not stopping.is_set():
            bus.append_many(topic, beats)
            begun.set()
            stopping.wait(0.05)
        bus.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert begun.wait(DEADLINE_S)
        yield
    finally:
        stopping.set()
        thread.join()


class Fleet:
    """Workers of a node `n` by hand, and a version 1 of a model `m`: what they say stands on the topic at once."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus

    def live(self, worker: str, incarnation: str = "1", **labels: str) -> int:
        presence = status_pb2.Presence(node="n", worker=worker, incarnation=incarnation, labels=labels)
        record = status_pb2.StatusRecord(presence=presence)
        return self._append(presence_key("n", worker), record.SerializeToString())

    def gone(self, worker: str) -> None:
        self._append(presence_key("n", worker), None)

    def say(
        self,
        worker: str,
        state: "status_pb2.InstanceState.ValueType",
        *,
        digest: str = DIGEST,
        incarnation: str = "1",
        error: str = "",
        retry_at_ms: int = 0,
    ) -> int:
        status = status_pb2.InstanceStatus(
            model="m", version=1, digest=digest, node="n", worker=worker, incarnation=incarnation, state=state
        )
        status.retry_at_ms = retry_at_ms
        if error:
            status.error.message = error
        record = status_pb2.StatusRecord(instance=status)
        return self._append(instance_key("n", worker, "m", 1), record.SerializeToString())

    def refuse(self, worker: str, offset: int, *, incarnation: str = "1") -> int:
        error = status_pb2.InstanceError(kind=status_pb2.SIGNATURE, message="by nobody")
        fault = status_pb2.LedgerFault(
            node="n", worker=worker, incarnation=incarnation, offset=offset, model="m", version=1, error=error
        )
        record = status_pb2.StatusRecord(fault=fault)
        return self._append(fault_key("n", worker, offset), record.SerializeToString())

    def _append(self, key: bytes, value: bytes | None) -> int:
        return self.bus.append(TOPICS.status.name, key, value).timestamp_ms
