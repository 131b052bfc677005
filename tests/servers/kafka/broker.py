"""A Kafka broker for tests: KRaft, one process, one node, on 127.0.0.1."""

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.servers.maven import REPOSITORY, find_jars, find_java
from tests.servers.ports import free_port
from tests.servers.processes import Server, ServerError

_LOG4J = Path(__file__).with_name("log4j2.yaml")
_HEAP = ("-Xms256m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
_FORMAT_S = 120.0


class KafkaBroker:
    """May be stopped or killed and started again: port and data stay. The data go when the context is left.

    `path`: where data and log go, by default a new temporary directory. `owner`: the process that it ends with, by
    default this one.
    """

    def __init__(self, *, port: int | None = None, path: Path | None = None, owner: int | None = None) -> None:
        self.port = port if port is not None else free_port()
        self._temporary = path is None
        self.path = path if path is not None else Path(tempfile.mkdtemp(prefix="nearline-kafka-"))
        self.path.mkdir(parents=True, exist_ok=True)
        self._properties = self.path / "server.properties"
        jars = find_jars("Kafka", Path(__file__).with_name("pom.xml"), REPOSITORY / ".kafka")
        self._java = (find_java("Kafka"), *self._java_options(), "-cp", f"{jars}/*")
        self._server = Server(
            [self._java[0], *_HEAP, *self._java[1:], "kafka.Kafka", str(self._properties)],
            self.path / "broker.log",
            self._answers,
            owner=owner,
        )

    def _java_options(self) -> list[str]:
        """For the broker and its tools."""
        return [f"-Dlog4j2.configurationFile={_LOG4J}"]

    def _settings(self) -> dict[str, object]:
        """For the broker; the port of its controller is chosen here."""
        return _settings(self.port, free_port(), self.path / "data")

    def _format_options(self) -> list[str]:
        """For the tool that makes the data directory."""
        return []

    @property
    def address(self) -> str:
        """As host:port."""
        return f"127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        """What the broker wrote."""
        return self._server.log

    @property
    def pid(self) -> int:
        """The running broker's process id."""
        return self._server.pid

    def start(self) -> None:
        """Start, and wait until it answers a request for metadata."""
        if not self._properties.exists():
            self._format()
        self._server.start(timeout_s=180)

    def stop(self) -> None:
        """Stop in order."""
        self._server.stop(timeout_s=60)

    def kill(self) -> None:
        """End it as a crash would."""
        self._server.kill()

    def restart(self) -> None:
        """Stop and start, on the same port."""
        self.stop()
        self.start()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self._server.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if self._temporary and kind is None:
            shutil.rmtree(self.path, ignore_errors=True)

    def _answers(self) -> bool:
        # kafka-python warns when it is imported: not before pytest has conftest.py's filters.
        from kafka import KafkaAdminClient  # noqa: PLC0415 - as said above
        from kafka.errors import KafkaError  # noqa: PLC0415 - as said above

        if not self._listens():
            return False
        try:
            client = KafkaAdminClient(bootstrap_servers=self.address, bootstrap_timeout_ms=5_000)
        except (KafkaError, OSError):
            return False
        try:
            return bool(client.describe_cluster()["brokers"])
        except KafkaError:
            return False
        finally:
            client.close()

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=5.0).close()
        except OSError:
            return False
        return True

    def _format(self) -> None:
        # The controller's port is chosen again for each new directory only: it is a part of the quorum's state.
        settings = self._settings()
        self._properties.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        run = [*self._java, "kafka.tools.StorageTool"]
        identifier = _output([*run, "random-uuid"]).strip().splitlines()[-1]
        _output(
            [*run, "format", "--standalone", "-t", identifier, "-c", str(self._properties), *self._format_options()]
        )


def _output(command: list[str]) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=_FORMAT_S, env={**os.environ, "LC_ALL": "C"}
    )
    if done.returncode != 0:
        raise ServerError(f"{command[-5:]}: {done.stdout}{done.stderr}")
    return done.stdout


def _settings(port: int, controller: int, data: Path) -> dict[str, object]:
    return {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.bootstrap.servers": f"127.0.0.1:{controller}",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": data,
        # One node.
        "default.replication.factor": 1,
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 1,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 1,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "share.coordinator.state.topic.num.partitions": 1,
        # A mistake must not create a topic with the wrong policy.
        "auto.create.topics.enable": "false",
        # Tests do not want to wait: for members to join, for a killed broker's registration to end, for compaction.
        "group.initial.rebalance.delay.ms": 0,
        "broker.session.timeout.ms": 3000,
        "broker.heartbeat.interval.ms": 500,
        "log.cleaner.backoff.ms": 500,
        "log.retention.check.interval.ms": 1000,
    }
