"""A seed for each test, told when it fails, and installations of few shards and small batches: many steps."""

import os
import zlib
from random import Random

import pytest

from tests.end_to_end.installation import Installation

SHARDS = 4
SMALL = {"event_partitions": str(SHARDS), "nearline_batch": "20", "workers": "1"}


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> Random:
    """NEARLINE_TEST_SEED tries another course of events."""
    given = os.environ.get("NEARLINE_TEST_SEED")
    seed = int(given) if given else zlib.crc32(request.node.nodeid.encode())
    print(f"NEARLINE_TEST_SEED={seed}")  # noqa: T201 - pytest shows it when the test fails
    return Random(seed)  # noqa: S311 - no secret


@pytest.fixture
def shop(installation: Installation) -> Installation:
    """Small, with a recommender that looks at everything."""
    return installation.having(**SMALL)
