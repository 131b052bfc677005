"""Opens a trained graph as a node would: built into a bundle, with external weights."""

import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from publisher.build import build_bundle
from publisher.recommender import describe_recommender
from publisher.sources.onnx_graph import from_onnx
from serving.bundles.session import ModelSession
from serving.demo.recipe import NEARLINE
from serving.demo.reference import Given
from serving.demo.train import Trained


def build(trained: Trained, folder: Path) -> None:
    described = describe_recommender(trained.graph, trained.items, trained.popular, trained.recipe)
    build_bundle(
        from_onnx(trained.graph, None),
        folder,
        recipe=described.recipe,
        recommendation=described.recommendation,
        catalogue=described.catalogue,
        nearline=NEARLINE,
    )


def run(trained: Trained, given: Given, batch: int = 1024) -> list[NDArray[np.generic]]:
    with tempfile.TemporaryDirectory() as folder:
        build(trained, Path(folder))
        session = ModelSession.open(Path(folder))
        parts = [
            session.run(
                {name: column[first : first + batch] for name, column in asdict(given).items()}, ["items", "scores"]
            )
            for first in range(0, len(given.history), batch)
        ]
        session.close()
    return [np.concatenate([part[output] for part in parts]) for output in range(2)]
