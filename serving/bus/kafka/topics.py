"""What the brokers know of topics: creating, describing, ends."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from kafka import TopicPartition
from kafka import errors as kafka_errors
from kafka.admin import OffsetSpec

from protos.topics import Kept, TopicSpec
from serving.bus.kafka.clients import RECORD_BYTES, KafkaClients
from serving.bus.partitions import check_partitions, wanted_partitions

_PATIENCE_S = 4.0
_PAUSE_S = 0.05
_EXISTS = kafka_errors.TopicAlreadyExistsError.errno
_FORBIDDEN = kafka_errors.TopicAuthorizationFailedError.errno

_T = TypeVar("_T")


class KafkaTopics:
    """Asks the brokers, each time. Thread-safe."""

    def __init__(self, clients: KafkaClients) -> None:
        self._clients = clients
        self._lock = threading.Lock()
        self._made: Any = None

    def ensure(self, specs: Sequence[TopicSpec]) -> None:
        """Create what is missing, and wait until it can be used."""
        counts = self._counts(specs)
        for stage in ([spec for spec in specs if not spec.like], [spec for spec in specs if spec.like]):
            missing = {spec.name: _creation(spec, counts) for spec in stage if spec.name not in counts}
            if missing:
                self._ask(", ".join(missing), partial(_create, missing), "Create")
                counts = self._counts(specs)  # another process may have been faster, with another number of partitions
        check_partitions(specs, counts)

    def describe(self, name: str) -> tuple[int, str]:
        """Return a topic's number of partitions and its id; NotFoundError."""
        topic = self._ask(name, lambda admin: _described(admin, name))
        return len(topic["partitions"]), str(topic["topic_id"])

    def ends(self, name: str, partitions: int) -> dict[int, int]:
        """Return the next offset of each partition."""
        wanted = {TopicPartition(name, partition): OffsetSpec.LATEST for partition in range(partitions)}
        found = self._ask(name, lambda admin: admin.list_partition_offsets(wanted))
        return {place.partition: at.offset for place, at in found.items()}

    def close(self) -> None:
        """Disconnect; the next call connects again."""
        with self._lock:
            made, self._made = self._made, None
        if made is not None:
            made.close()

    def _counts(self, specs: Sequence[TopicSpec]) -> dict[str, int]:
        names = sorted({spec.name for spec in specs} | {spec.like for spec in specs if spec.like})
        found = self._ask(", ".join(names), lambda admin: _permitted(admin.describe_topics(names)))
        return {topic["name"]: len(topic["partitions"]) for topic in found if topic["error_code"] == 0}

    def _ask(self, topic: str, question: Callable[[Any], _T], needs: str = "Describe") -> _T:
        # Its connection may date from before the broker's restart: the first answer is often that it is closed.
        deadline = time.monotonic() + _PATIENCE_S
        with self._lock:
            if self._made is None:
                self._made = self._clients.admin()
            made = self._made
        while True:
            try:
                with self._clients.converted(topic, needs):
                    try:
                        return question(made)
                    except kafka_errors.RetriableError as error:
                        unknown = isinstance(error, kafka_errors.UnknownTopicOrPartitionError)
                        if unknown or time.monotonic() > deadline:
                            raise
            except Exception:
                with self._lock:
                    if self._made is made:
                        self._made = None
                made.close()
                raise
            time.sleep(_PAUSE_S)


def _permitted(topics: Sequence[Any]) -> Sequence[Any]:
    """A topic that we may not look at must not be taken for one that is missing."""
    hidden = sorted(topic["name"] for topic in topics if topic["error_code"] == _FORBIDDEN)
    if hidden:
        raise kafka_errors.TopicAuthorizationFailedError(hidden)
    return topics


def _creation(spec: TopicSpec, counts: Mapping[str, int]) -> dict[str, Any]:
    configs = {
        "cleanup.policy": "compact" if spec.kept is Kept.COMPACTED else "delete",
        "message.timestamp.type": "LogAppendTime",
        "max.message.bytes": str(RECORD_BYTES),
    }
    if spec.kept is Kept.FOR_EVER:
        configs |= {"retention.ms": "-1", "retention.bytes": "-1"}
    elif spec.kept is Kept.BY_TIME:
        configs |= {"retention.ms": str(spec.retention_s * 1000), "retention.bytes": "-1"}
    partitions = wanted_partitions(spec, counts)
    return {"num_partitions": partitions, "replication_factor": -1, "configs": configs}


def _create(missing: dict[str, dict[str, Any]], admin: Any) -> None:
    answer = admin.create_topics(missing, raise_errors=False)
    for topic in answer["topics"]:
        if topic["error_code"] not in (0, _EXISTS):  # another process was faster
            raise kafka_errors.for_code(topic["error_code"])(f"{topic['name']}: {topic.get('error_message')}")
    admin.wait_for_topics(list(missing), timeout_ms=_PATIENCE_S * 1000)


def _described(admin: Any, name: str) -> Any:
    (topic,) = admin.describe_topics([name])
    if topic["error_code"] != 0:
        raise kafka_errors.for_code(topic["error_code"])(name)
    return topic
