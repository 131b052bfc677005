"""Announces bundles that cannot work, each in its own way: what a careless or hostile publisher could do."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import onnx

from protos.digest import bundle_digest
from publisher.announce import Announceable, Announcement, announce
from publisher.build import build_bundle, list_files
from publisher.ledger import Ledger
from publisher.recommender import describe_recommender
from publisher.sources.onnx_graph import from_onnx
from serving.artifacts.store import FsspecArtifacts
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
    held: bool = False,
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
        files = list_files(folder)
        digest = bundle_digest(files)
        uri = FsspecArtifacts(settings.artifacts_url).put(digest, {f.path: folder / f.path for f in files})
    after(Path(urlsplit(uri).path))
    bus = installation.bus()
    try:
        return announce(
            Ledger(bus, settings.topics), Announceable(model, digest, uri, files, version=version, held=held)
        )
    finally:
        bus.close()


def hidden(stored: Path) -> None:
    """Not there yet: an object store that is late, a mount that is away."""
    stored.rename(_aside(stored))


def show_again(announced: Announcement) -> None:
    """Undo `hidden`."""
    stored = Path(urlsplit(announced.uri).path)
    _aside(stored).rename(stored)


def _aside(stored: Path) -> Path:
    return stored.with_name(f"{stored.name}.aside")
