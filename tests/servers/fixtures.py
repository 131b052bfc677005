"""Servers for tests, started when the first test asks for one.

With pytest-xdist all workers share one broker (it takes 370 MB): the first to ask starts it, and it ends with the
process that runs the workers. NEARLINE_TEST_KAFKA=host:port uses one that runs already. The secured broker is of each
process that asks for one.
"""

import os
from collections.abc import Iterator

import pytest
from filelock import FileLock

from tests.servers.kafka.broker import KafkaBroker
from tests.servers.kafka.secured import SecuredBroker
from tests.servers.s3 import S3Server

_GIVEN = "NEARLINE_TEST_KAFKA"


@pytest.fixture(scope="session")
def kafka_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker's host:port."""
    given = os.environ.get(_GIVEN)
    if given:
        yield given
    elif "PYTEST_XDIST_WORKER" in os.environ:
        yield _shared(tmp_path_factory)
    else:
        with KafkaBroker() as broker:
            yield broker.address


@pytest.fixture(scope="session")
def secured_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredBroker]:
    """A broker with TLS, logins and ACLs."""
    with SecuredBroker(path=tmp_path_factory.mktemp("secured")) as broker:
        yield broker


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 with a bucket in it, for all tests: each under a prefix of its own."""
    server = S3Server(tmp_path_factory.mktemp("s3"))
    server.start()
    yield server
    server.stop()


_started: list[KafkaBroker] = []


def _shared(tmp_path_factory: pytest.TempPathFactory) -> str:
    everyone = tmp_path_factory.getbasetemp().parent
    told = everyone / "kafka.address"
    with FileLock(everyone / "kafka.lock"):
        if not told.exists():
            broker = KafkaBroker(path=everyone / "kafka", owner=os.getppid())
            broker.start()
            _started.append(broker)
            told.write_text(broker.address)
    return told.read_text()
