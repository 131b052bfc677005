"""A version that cannot load: what a bug in a training pipeline would announce."""

import tempfile
from pathlib import Path

from publisher.announce import Announcement
from publisher.build import build_bundle
from publisher.delivery import Delivery
from publisher.recommender import describe_recommender
from publisher.sources.onnx_graph import from_onnx
from serving.bundles.about import About
from serving.bundles.bundle import GRAPH
from serving.bus.port import Bus
from serving.demo.recipe import NEARLINE
from serving.demo.train import Trained
from serving.settings import Settings


def announce_broken(name: str, trained: Trained, settings: Settings, bus: Bus) -> Announcement:
    """Announce the model with half of its graph, past all the checks that `publish` makes."""
    described = describe_recommender(trained.graph, trained.items, trained.popular, trained.recipe)
    with tempfile.TemporaryDirectory(prefix="nearline-demo-") as temporary:
        folder = Path(temporary)
        build_bundle(
            from_onnx(trained.graph, None),
            folder,
            recipe=described.recipe,
            recommendation=described.recommendation,
            catalogue=described.catalogue,
            nearline=NEARLINE,
            about=About(description="cut in half on purpose"),
        )
        graph = (folder / GRAPH).read_bytes()
        (folder / GRAPH).write_bytes(graph[: len(graph) // 2])
        return Delivery(name, folder, settings).make(bus)
