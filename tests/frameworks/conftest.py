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
from tests.end_to_end.inferring import infer
from tests.end_to_end.installation import Installation, Node

collect_ignore = [
    f"test_{name}.py" for name, package in (("keras", "tensorflow"), ("torch", "torch")) if not find_spec(package)
]

Serve = Callable[..., dict[str, NDArray[Any]]]
Digest = Callable[..., list[Any]]


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
def digest(tmp_path: Path) -> Digest:
    """The files of a model's bundle, with their digests."""

    def built(model: Any, samples: Any = None) -> list[Any]:
        folder = tmp_path / f"bundle{np.random.default_rng().integers(1 << 40)}"
        folder.mkdir()
        return build_bundle(load_source(model, samples), folder)

    return built
