"""An installation without Kafka or Redis: what is watched here is processes."""

from pathlib import Path

import pytest

from tests.end_to_end.installation import Installation


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path, {"workers": "1", "nearline_workers": "1", "grace_s": "60"})
