"""Opens a trained graph as a node would: built into a bundle, with external weights."""

import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from publisher.build import build_bundle
from publisher.recommender import describe_recommender
from publisher.sources.onnx_graph import from_onnx
from serving.bundles.session import ModelSession
from serving.demo.train import Trained


def build(trained: Trained, folder: Path) -> None:
    described = describe_recommender(trained.graph, trained.items, trained.popular, None)
    build_bundle(
        from_onnx(trained.graph, None),
        folder,
        recipe=described.recipe,
        recommendation=described.recommendation,
        catalogue=described.catalogue,
    )


def run(trained: Trained, histories: NDArray[np.int64], batch: int = 1024) -> list[NDArray[np.generic]]:
    with tempfile.TemporaryDirectory() as folder:
        build(trained, Path(folder))
        session = ModelSession.open(Path(folder))
        parts = [
            session.run({"history": histories[first : first + batch]}, ["items", "scores"])
            for first in range(0, len(histories), batch)
        ]
        session.close()
    return [np.concatenate([part[output] for part in parts]) for output in range(2)]
