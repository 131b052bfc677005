"""Both installations, for end-to-end tests: the one that needs nothing, and the one of a cluster.

Both over the default transport. The main job is done over grpcio, too, and foreign clients call both. What nodes make
of the ledger is the same on every bus, which the contract suite holds to one behaviour: those tests name one.
"""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.installation import Installation, Node

EMBEDDED, CLUSTER, GRPCIO = "embedded+lmdb", "kafka+redis", "embedded+lmdb, grpcio"
ON_SERVERS = [pytest.mark.kafka, pytest.mark.redis]
ON_THE_LAPTOP = pytest.mark.parametrize("installation", [EMBEDDED], indirect=True)
ON_THE_CLUSTER = pytest.mark.parametrize("installation", [pytest.param(CLUSTER, marks=ON_SERVERS)], indirect=True)


@pytest.fixture(params=[EMBEDDED, pytest.param(CLUSTER, marks=ON_SERVERS)])
def installation(request: pytest.FixtureRequest, tmp_path: Path) -> Installation:
    if request.param == EMBEDDED:
        return Installation(tmp_path)
    if request.param == GRPCIO:
        return Installation(tmp_path, {"transport": "grpcio"})
    overrides = {
        "bus": f"kafka://{request.getfixturevalue('kafka_servers')}",
        "store": str(request.getfixturevalue("redis_url")),
        "topic_prefix": f"t{uuid.uuid4().hex[:10]}.",
    }
    return Installation(tmp_path, overrides)


@pytest.fixture
def node(installation: Installation) -> Iterator[Node]:
    with Node(installation) as started:
        yield started
