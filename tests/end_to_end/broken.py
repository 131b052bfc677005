"""Announces bundles that cannot work, each in its own way: what a careless or hostile publisher could do."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import onnx

from publisher.announce import Announcement
from publisher.api import deliver
from publisher.build import build_bundle
from publisher.recommender import describe_recommender
from publisher.sources.onnx_graph import from_onnx
from tests.end_to_end.installation import Installation
from tests.end_to_end.models import items_of, recommender

Damage = Callable[[Path], None]
GRAPH = "model.onnx"


def corrupt_graph(folder: Path) -> None:
    """Half of the graph: no ONNX at all."""
    data = (folder / GRAPH).read_bytes()
    (folder / GRAPH).write_bytes(data[: len(data) // 2])


def unknown_operator(folder: Path) -> None:
    """A graph in good order, of an operator that no runtime has."""
    graph = onnx.load_model(str(folder / GRAPH), load_external_data=False)
    graph.graph.node[0].op_type = "Divine"
    (folder / GRAPH).write_bytes(graph.SerializeToString())


def nothing(_folder: Path) -> None:
    """In good order."""


def other_bytes(stored: Path) -> None:
    """As long as announced, but other bytes."""
    data = bytearray((stored / GRAPH).read_bytes())
    data[len(data) // 2] ^= 0xFF
    (stored / GRAPH).write_bytes(bytes(data))


def truncated(stored: Path) -> None:
    """Shorter than announced."""
    data = (stored / GRAPH).read_bytes()
    (stored / GRAPH).write_bytes(data[:-7])


def missing(stored: Path) -> None:
    """Gone."""
    shutil.rmtree(stored)


def announce_damaged(
    installation: Installation,
    model: str,
    version: int,
    *,
    before: Damage = nothing,
    after: Damage = nothing,
) -> Announcement:
    """Announce a bundle damaged before it was named by its digest, or after it was stored."""
    settings = installation.settings()
    graph = recommender(version)
    described = describe_recommender(graph, items_of(version), None, None)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        build_bundle(
            from_onnx(graph, None),
            folder,
            recipe=described.recipe,
            recommendation=described.recommendation,
            catalogue=described.catalogue,
        )
        before(folder)
        announced = deliver(model, folder, version=version, settings=settings)
    after(Path(urlsplit(announced.uri).path))
    return announced
