"""Frameworks that weigh gigabytes: `make test-frameworks` has them; where one is missing, its tests are not there."""

from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from publisher.api import publish
from publisher.build import build_bundle
from publisher.sources.choose import load_source
from serving.recipes.event import encode_event
from tests.end_to_end.client import NEARLINE, recommend
from tests.end_to_end.inferring import infer
from tests.end_to_end.installation import Installation, Node
from tests.end_to_end.waiting import wait_until

collect_ignore = [
    f"test_{name}.py" for name, package in (("keras", "tensorflow"), ("torch", "torch")) if not find_spec(package)
]

Serve = Callable[..., dict[str, NDArray[Any]]]
Digest = Callable[..., list[Any]]
Recommends = Callable[..., None]

ITEMS = [f"item-{row}" for row in range(40)]
WIDTH, K = 4, 5
HISTORIES = np.random.default_rng(2).integers(0, len(ITEMS), (8, WIDTH))
"""Rows of the catalogue that entities had to do with; some have done less, which is padded with -1."""
HISTORIES[:3, 1:] = -1


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    return Installation(tmp_path_factory.mktemp("frameworks"))


@pytest.fixture(scope="module")
def node(installation: Installation) -> Iterator[Node]:
    with Node(installation) as started:
        yield started


@pytest.fixture
def serve(installation: Installation, node: Node) -> Serve:
    """Publish a model, wait until it is READY, and ask for rows."""

    def asked(
        name: str, model: Any, inputs: Mapping[str, NDArray[Any]], samples: Any = None
    ) -> dict[str, NDArray[Any]]:
        announced = publish(name, model, samples=samples, settings=installation.settings())
        installation.wait_for_state(name, announced.version, {"READY"}, node.workers)
        return infer(node.address, name, inputs)

    return asked


@pytest.fixture
def recommends(installation: Installation, node: Node) -> Recommends:
    """Publish a recommender, have events say HISTORIES, and wait until `Recommend` answers as is expected."""

    def check(name: str, model: Any, rows: NDArray[Any], scores: NDArray[Any]) -> None:
        announced = publish(name, model, items=ITEMS, samples=HISTORIES, settings=installation.settings())
        installation.wait_for_state(name, announced.version, {"READY"}, node.workers)
        events = [
            encode_event(f"{name}-{number}", {"item": ITEMS[row]}, event_id=f"{name}-{number}-{place}")
            for number, history in enumerate(HISTORIES)
            for place, row in enumerate(history)
            if row >= 0
        ]
        bus = installation.bus()
        bus.append_many(installation.settings().topics.events.name, events)
        bus.close()
        for number in range(len(HISTORIES)):
            expected = [ITEMS[row] for row in rows[number]]

            def answered(entity: str = f"{name}-{number}", expected: list[str] = expected) -> Any:
                said = recommend(node.address, name, entity)
                return said if said.source == NEARLINE and list(said.item_ids) == expected else None

            said = wait_until(answered, f"what {name} recommends to entity {number}")
            np.testing.assert_allclose(said.scores, scores[number], rtol=1e-4, atol=1e-5)

    return check


@pytest.fixture
def digest(tmp_path: Path) -> Digest:
    """The files of a model's bundle, with their digests."""

    def built(model: Any, samples: Any = None) -> list[Any]:
        folder = tmp_path / f"bundle{np.random.default_rng().integers(1 << 40)}"
        folder.mkdir()
        return build_bundle(load_source(model, samples), folder)

    return built
