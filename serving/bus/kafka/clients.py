"""Makes kafka-python's clients: bounded in time, nothing left over when one cannot be made, quiet.

Their constructors connect, and start threads that stay when the connection fails. So a connection is tried first, which
also knows the reason (probe.py), and the network client inside is closed when its owner was not made.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.net.compat import KafkaNetClient

from serving.bus.kafka.decoders import keep_answers_classes
from serving.bus.kafka.errors import converted, unavailable
from serving.bus.kafka.probe import guess, look
from serving.bus.kafka.security import Security
from serving.errors import BusUnavailableError
from serving.settings import Settings

RECORD_BYTES = 4 << 20
"""The largest record that topics and clients let through; statements may be 1 MiB."""
SESSION_S = 6.0
"""After so long without a heartbeat a member's partitions go to others; brokers allow nothing shorter by default."""
_MAX_POLL_INTERVAL_S = 600


class KafkaClients:
    """Knows the addresses, and every setting of the clients. Without `security` they speak plain text."""

    def __init__(self, servers: Sequence[str], security: Security | None = None) -> None:
        self.servers = list(servers)
        self.security = security or Security(Settings.model_construct())
        self._common: dict[str, Any] = {
            "bootstrap_servers": self.servers,
            "bootstrap_timeout_ms": 5_000,
            "request_timeout_ms": 4_000,
            "reconnect_backoff_ms": 50,
            "reconnect_backoff_max_ms": 1_000,
            "retry_backoff_ms": 50,
        }
        keep_answers_classes()
        _quieten()

    def producer(self) -> Any:
        """Make an idempotent producer. A record is durable when its future says so, and failed after 6 s."""
        return self._made(
            KafkaProducer,
            acks="all",
            enable_idempotence=True,
            max_block_ms=5_000,
            delivery_timeout_ms=6_000,
            batch_size=128 << 10,
            max_request_size=RECORD_BYTES,
            allow_auto_create_topics=False,
            metrics_enabled=False,
        )

    def admin(self) -> Any:
        """Make a client for topics and offsets."""
        return self._made(KafkaAdminClient)

    def consumer(self, group: str | None) -> Any:
        """Make a consumer. Where there is no position, or none that is kept, it starts at the first record kept."""
        membership = {
            "group_id": group,
            "partition_assignment_strategy": [CooperativeStickyAssignor],
            "session_timeout_ms": int(SESSION_S * 1000),
            "heartbeat_interval_ms": 500,
            "max_poll_interval_ms": _MAX_POLL_INTERVAL_S * 1000,
        }
        return self._made(
            KafkaConsumer,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            fetch_max_wait_ms=500,
            max_partition_fetch_bytes=RECORD_BYTES,
            allow_auto_create_topics=False,
            metrics_enabled=False,
            **(membership if group is not None else {}),
        )

    def converted(self, topic: str, needs: str) -> AbstractContextManager[None]:
        """Raise kafka-python's errors as ours; `needs`: the right that the broker asks for, such as `Read`."""
        return converted(self.servers, topic, needs=needs, who=self.security.who)

    def _made(self, kind: Callable[..., Any], **settings: Any) -> Any:
        look(self.servers, self.security)
        inside: list[Any] = []

        def network(**configs: Any) -> Any:
            inside.append(KafkaNetClient(**configs))
            return inside[0]

        try:
            with converted(self.servers, "connecting", needs="a login", who=self.security.who):
                return kind(**self._common, **self.security.options(), **settings, kafka_client=network)
        except BaseException as error:
            for client in inside:
                client.close()
            reason = guess(self.servers, self.security) if isinstance(error, BusUnavailableError) else ""
            if reason:
                raise unavailable(self.servers, reason) from error
            raise


def _quieten() -> None:
    # It logs each attempt to connect again, and each refresh that failed, as an error: we raise one that says it all.
    # An error that ended a task of its loop (kafka.net.selector) is seen: nothing else tells of it.
    silent = ("kafka.net.connection", "kafka.net.manager", "kafka.net.transport", "kafka.cluster")
    for name, level in (("kafka", logging.ERROR), *((name, logging.CRITICAL) for name in silent)):
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:
            logger.setLevel(level)
