"""Redis for tests: one server a test session, or the one that NEARLINE_TEST_REDIS names."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.processes import ServerError
from tests.servers.redis import RedisServer


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[str]:
    """URL of a Redis that tests may write to, each under a namespace of its own."""
    given = os.environ.get("NEARLINE_TEST_REDIS")
    if given:
        yield given
        return
    server = _started(tmp_path_factory.mktemp("redis"))
    yield server.url
    server.stop()
    if not request.session.testsfailed:  # else its log is worth reading
        shutil.rmtree(server.folder, ignore_errors=True)


@pytest.fixture
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A running server that the test may kill and start again."""
    server = _started(tmp_path_factory.mktemp("own-redis"))
    yield server
    server.stop()


def _started(folder: Path) -> RedisServer:
    try:
        server = RedisServer(folder)
        server.start()
    except ServerError as error:
        pytest.fail(str(error), pytrace=False)
    return server
