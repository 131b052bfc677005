"""Both stores, for whoever needs one that is real."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.store.port import StoreWriter
from tests.store.stores import Store


@pytest.fixture(params=["lmdb", pytest.param("redis", marks=pytest.mark.redis)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A store that nobody else has, in a folder of its own."""
    url = "lmdb" if request.param == "lmdb" else request.getfixturevalue("redis_url")
    return Store(url, tmp_path, f"test-{uuid.uuid4().hex}.")


@pytest.fixture
def writer(store: Store) -> Iterator[StoreWriter]:
    """A writer of it."""
    writer = store.writer()
    yield writer
    writer.close()
