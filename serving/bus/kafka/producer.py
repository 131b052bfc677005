"""Appends, durably."""

import threading
from collections import deque
from collections.abc import Iterable
from typing import Any

from kafka import errors as kafka_errors

from serving.bus.kafka.clients import KafkaClients
from serving.bus.port import Appended
from serving.errors import BusUnavailableError, InvalidRequestError

_ANSWER_S = 8.0
"""Longer than the producer's own time-out, so that a record that was given up here is not sent later."""
_IN_FLIGHT = 8192
_CLOSE_S = 5.0


class KafkaAppender:
    """One idempotent producer, made on first use. Thread-safe."""

    def __init__(self, clients: KafkaClients) -> None:
        self._clients = clients
        self._lock = threading.Lock()
        self._made: Any = None

    def append(self, topic: str, records: Iterable[tuple[bytes | None, bytes | None, int]]) -> list[Appended]:
        """Append (key, value, partition) in order, and return when all are durable.

        When the bus goes away in between, some of them may have been appended.
        """
        producer = self._producer()
        try:
            return self._append(producer, topic, records)
        except BusUnavailableError:
            # It would go on with the password that it was made with. And one whose record was sent and never answered
            # may not know its own next number any more: none of its appends would be answered again.
            self._give_up(producer)
            raise

    def _append(
        self, producer: Any, topic: str, records: Iterable[tuple[bytes | None, bytes | None, int]]
    ) -> list[Appended]:
        pending: deque[Any] = deque()
        appended: list[Appended] = []
        with self._clients.converted(topic, "Write"):
            for key, value, partition in records:
                if key is None and value is None:
                    raise InvalidRequestError("record", "a key or a value", "neither")
                if len(pending) >= _IN_FLIGHT:
                    appended.append(_appended(pending.popleft()))
                pending.append(producer.send(topic, key=key, value=value, partition=partition))
            appended.extend(_appended(future) for future in pending)
        return appended

    def close(self) -> None:
        """Flush and disconnect; the next append connects again."""
        with self._lock:
            made, self._made = self._made, None
        if made is not None:
            _end(made, _CLOSE_S)

    def _give_up(self, producer: Any) -> None:
        """Have the next append connect anew, unless another thread has seen to that."""
        with self._lock:
            if self._made is not producer:
                return
            self._made = None
        _end(producer, 0.0)

    def _producer(self) -> Any:
        with self._lock:
            if self._made is None:
                self._made = self._clients.producer()
            return self._made


def _appended(future: Any) -> Appended:
    metadata = future.get(timeout=_ANSWER_S)
    return Appended(metadata.partition, metadata.offset, metadata.timestamp)


def _end(producer: Any, timeout_s: float) -> None:
    try:
        producer.close(timeout=timeout_s)
    except kafka_errors.KafkaTimeoutError:
        # Its close() gives up when the flush does, and leaves its thread running.
        producer._sender.force_close()  # noqa: SLF001 - the only way to end that thread
