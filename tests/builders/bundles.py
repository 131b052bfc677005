"""Bundles of small graphs, on disk and in memory."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from protos.digest import FileEntry, bundle_digest
from protos.records import MILLION, Share
from publisher.build import build_bundle
from publisher.recommender import Described, describe_recommender
from publisher.sources.onnx_graph import from_onnx
from publisher.sources.source import Samples, Source
from serving.bundles.bundle import open_bundle
from serving.bundles.nearline import DAY_S, NearlineSettings
from serving.bundles.session import ModelSession
from serving.models.loaded import LoadedModel
from serving.models.table import ActiveModel, ActiveTable
from serving.recipes.recipe import Recipe, changing_inputs
from tests.builders.graphs import ROWS, N, recommender

ITEMS = [f"item-{row}" for row in range(ROWS)]
POPULAR = ITEMS[10:15]
HISTORY = {"history": np.array([[-1] * N, [-1, -1, 0, 1]], np.int64)}
PAGE = {"page": np.array([0, 1], np.int64)}


def build(folder: Path, graph: onnx.ModelProto | None = None, samples: Samples | None = None) -> list[FileEntry]:
    """The recommender with its catalogue, unless another graph is given, which then recommends nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    described = Described() if graph else describe_recommender(recommender(), ITEMS, POPULAR, None)
    source = from_onnx(graph or recommender(), samples or (None if graph else HISTORY))
    return _build(folder, described, source.graph, source.samples)


def build_recommender(folder: Path, graph: onnx.ModelProto, recipe: Recipe | None = None) -> list[FileEntry]:
    """Another recommender with the same catalogue."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {value.name for value in graph.graph.input}
    samples = {name: array for name, array in (HISTORY | PAGE).items() if name in names}
    return _build(folder, describe_recommender(graph, ITEMS, POPULAR, recipe), graph, samples)


def load(folder: Path, name: str = "m", version: int = 1, graph: onnx.ModelProto | None = None) -> LoadedModel:
    """Build and open; `graph` as in `build`."""
    return opened(folder, build(folder, graph), name, version)


def load_recommender(
    folder: Path, graph: onnx.ModelProto, name: str = "m", version: int = 1, recipe: Recipe | None = None
) -> LoadedModel:
    """Build another recommender, and open it."""
    return opened(folder, build_recommender(folder, graph, recipe), name, version)


def again(
    loaded: LoadedModel,
    name: str = "m",
    version: int = 1,
    *,
    digest: str | None = None,
    session: ModelSession | None = None,
    **settings: Any,
) -> LoadedModel:
    """The same bundle as another version, with other near-line settings (serving/bundles/nearline.py)."""
    manifest = loaded.bundle.manifest
    if settings:
        manifest = manifest.model_copy(update={"nearline": NearlineSettings(**settings)})
    bundle = replace(loaded.bundle, manifest=manifest)
    return LoadedModel.of(name, version, digest or loaded.digest, bundle, session or loaded.session)


def opened(folder: Path, files: list[FileEntry], name: str = "m", version: int = 1) -> LoadedModel:
    """A bundle in memory."""
    return LoadedModel.of(name, version, bundle_digest(files), open_bundle(folder), ModelSession.open(folder))


def serve(table: ActiveTable, *models: LoadedModel) -> None:
    """Put versions of one model into the table, in equal shares."""
    part = MILLION // len(models)
    shares = [Share(loaded.version, part) for loaded in models]
    shares[-1] = Share(shares[-1].version, MILLION - part * (len(models) - 1))
    table.swap(
        ActiveModel(models[0].model, tuple(shares), tuple(shares), {loaded.version: loaded for loaded in models})
    )


def _build(folder: Path, described: Described, graph: onnx.ModelProto, samples: Samples) -> list[FileEntry]:
    # Windows and ages demand one.
    settled = NearlineSettings(ttl=DAY_S) if changing_inputs(described.recipe or {}) else None
    return build_bundle(
        Source(graph, samples),
        folder,
        recipe=described.recipe,
        recommendation=described.recommendation,
        catalogue=described.catalogue,
        nearline=settled,
    )
