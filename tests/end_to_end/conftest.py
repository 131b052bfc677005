"""Both installations, for every end-to-end test: the one that needs nothing, and the one of a cluster."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.installation import Installation, Node


@pytest.fixture(
    params=[
        "embedded+lmdb",
        pytest.param("kafka+redis", marks=[pytest.mark.kafka, pytest.mark.redis]),
    ]
)
def installation(request: pytest.FixtureRequest, tmp_path: Path) -> Installation:
    if request.param == "embedded+lmdb":
        return Installation(tmp_path, {"transport": "native"})  # and the other one over grpcio
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
