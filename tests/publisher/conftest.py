"""Data that estimators are fitted on, and an embedded bus with its ledger."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from publisher.ledger import Ledger
from serving.bus.embedded.bus import EmbeddedBus
from tests.builders.buses import TOPICS
from tests.builders.fleet import Fleet


@dataclass(frozen=True)
class Fitted:
    """`x` float64 [200, 3]; `y` says which side of a plane, `z` is a number."""

    x: NDArray[np.float64]
    y: NDArray[np.int64]
    z: NDArray[np.float64]

    @property
    def words(self) -> NDArray[Any]:
        return np.where(self.y == 1, "buys", "leaves")


@pytest.fixture(scope="session")
def data() -> Fitted:
    x = np.random.default_rng(0).standard_normal((200, 3))
    return Fitted(x, (x[:, 0] + x[:, 1] > 0).astype(np.int64), x @ np.array([2.0, 1.0, -0.5]) + 3)


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[EmbeddedBus]:
    opened = EmbeddedBus(tmp_path / "bus")
    opened.ensure_topics(TOPICS.all())
    yield opened
    opened.close()


@pytest.fixture
def fleet(bus: EmbeddedBus) -> Fleet:
    return Fleet(bus)


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadPoolExecutor]:
    """For who waits beside the test; whoever was seen once stays live, however long that takes."""
    for module in ("protos.status_view", "serving.bus.read_status"):
        monkeypatch.setattr(f"{module}.LIVE_MS", 1 << 40)
    with ThreadPoolExecutor(1) as opened:
        yield opened


@pytest.fixture
def ledger(bus: EmbeddedBus) -> Ledger:
    return Ledger(bus, TOPICS)
