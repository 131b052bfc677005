"""One node."""

from pathlib import Path

import pytest

from serving.settings import Settings
from tests.snapshots.stage import Stage


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    made = Stage(Settings(data_dir=tmp_path / "data", topic_prefix="t.", node="one", event_partitions=2))
    made.make_topics()
    return made
