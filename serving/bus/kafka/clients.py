"""Makes kafka-python's clients: bounded in time, nothing left over when one cannot be made, quiet.

Their constructors connect, and start threads that stay when the connection fails. So addresses are tried with a plain
socket first, which also knows the reason, and the network client inside is closed when its owner was not made.
"""

import logging
import socket
from collections.abc import Callable, Sequence
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.net.compat import KafkaNetClient

from serving.bus.kafka.errors import converted, unavailable

RECORD_BYTES = 4 << 20
"""The largest record that topics and clients let through; statements may be 1 MiB."""
SESSION_S = 6.0
"""After so long without a heartbeat a member's partitions go to others; brokers allow nothing shorter by default."""
_PROBE_S = 2.0
_MAX_POLL_INTERVAL_S = 600


class KafkaClients:
    """Knows the addresses, and every setting of the clients."""

    def __init__(self, servers: Sequence[str]) -> None:
        self.servers = list(servers)
        self._common: dict[str, Any] = {
            "bootstrap_servers": self.servers,
            "bootstrap_timeout_ms": 5_000,
            "request_timeout_ms": 4_000,
            "reconnect_backoff_ms": 50,
            "reconnect_backoff_max_ms": 1_000,
            "retry_backoff_ms": 50,
        }
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

    def _made(self, kind: Callable[..., Any], **settings: Any) -> Any:
        self._probe()
        inside: list[Any] = []

        def network(**configs: Any) -> Any:
            inside.append(KafkaNetClient(**configs))
            return inside[0]

        with converted(self.servers, "connecting"):
            try:
                return kind(**self._common, **settings, kafka_client=network)
            except BaseException:
                for client in inside:
                    client.close()
                raise

    def _probe(self) -> None:
        reasons = []
        for server in self.servers:
            host, _, port = server.rpartition(":")
            try:
                socket.create_connection((host.strip("[]"), int(port)), timeout=_PROBE_S / len(self.servers)).close()
            except OSError as error:
                reasons.append(f"{server}: {error}")
            else:
                return
        raise unavailable(self.servers, f"no broker listens ({'; '.join(reasons)}); check the address and start Kafka")


def _quieten() -> None:
    # It logs each attempt to connect again, and each refresh that failed, as an error: we raise one that says it all.
    for name, level in (("kafka", logging.ERROR), ("kafka.net", logging.CRITICAL), ("kafka.cluster", logging.CRITICAL)):
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:
            logger.setLevel(level)
