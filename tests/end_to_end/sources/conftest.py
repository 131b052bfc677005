"""One node for all sources: each is published to it under a name of its own."""

from collections.abc import Iterator

import pytest

from tests.end_to_end.installation import Installation, Node
from tests.end_to_end.sources.served import Served


@pytest.fixture(scope="package")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Everything of it on one machine; what frameworks say does not depend on the bus."""
    installation = Installation(tmp_path_factory.mktemp("sources"))
    with Node(installation) as node:
        yield Served(installation, node)
