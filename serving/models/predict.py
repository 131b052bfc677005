"""From the states of entities to answers, for one version: the same code near-line and online, so they agree."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protos.nearline.v1 import status_pb2
from serving.errors import ModelError, NotFoundError
from serving.models.answers import Answer
from serving.models.loaded import LoadedModel
from serving.recipes.history import History, last_n
from serving.recipes.recipe import LastN

States = Mapping[str, History]
"""The histories of one entity, by event field."""


DEFAULT_WIDTH = 100


def features(loaded: LoadedModel) -> dict[str, LastN]:
    """The recipe of a recommender, by input; NotFoundError for a model that recommends nothing."""
    if loaded.bundle.manifest.recommendation is None:
        raise NotFoundError(
            f"model {loaded.model!r} version {loaded.version}: expected a recommender, "
            "got a model without recipe and catalogue (call it with ModelInfer)"
        )
    return {name: feature for name, feature in loaded.bundle.manifest.recipe.items() if isinstance(feature, LastN)}


def inputs(loaded: LoadedModel, states: Sequence[States]) -> dict[str, NDArray[Any]]:
    """Return the model's inputs, one row for each entity; [len(states), n] each."""
    catalogue = loaded.bundle.catalogue
    assert catalogue is not None  # noqa: S101 - open_bundle demands one of a recommender
    types = {tensor.name: np.int32 if tensor.datatype == "INT32" else np.int64 for tensor in loaded.session.inputs}
    return {
        name: last_n(feature, [s.get(feature.field) or History() for s in states], catalogue.rows).astype(
            types[name], copy=False
        )
        for name, feature in features(loaded).items()
    }


def answers(loaded: LoadedModel, items: NDArray[Any], scores: NDArray[Any], now_ms: int, *, rows: int) -> list[Answer]:
    """Turn the outputs (rows [batch, k] of the catalogue, scores [batch, k]) into `rows` answers; ModelError if bad.

    A row with a negative number, or a score of minus infinity, holds no item: models may give fewer than k.
    """
    catalogue = loaded.bundle.catalogue
    assert catalogue is not None  # noqa: S101 - open_bundle demands one of a recommender
    # The runtime only warns when a shape is not the one that the graph declares.
    if items.ndim != 2 or len(items) != rows or items.shape != scores.shape:  # noqa: PLR2004 - [batch, k]
        raise ModelError(
            status_pb2.LOAD, f"items and scores: expected the shape [{rows}, k], got {items.shape} and {scores.shape}"
        )
    if items.size and items.max() >= len(catalogue.ids):
        raise ModelError(status_pb2.LOAD, f"items: expected rows below {len(catalogue.ids)}, got {items.max()}")
    if np.isnan(scores).any() or np.isposinf(scores).any():
        raise ModelError(status_pb2.LOAD, "scores: expected finite numbers, got NaN or Inf")
    held = (items >= 0) & ~np.isneginf(scores)
    out = []
    for row, score, mask in zip(items, scores, held, strict=True):
        kept, values = (row, score) if mask.all() else (row[mask], score[mask])
        ids = [catalogue.ids[i] for i in kept.tolist()]
        out.append(Answer(ids, values.tolist(), loaded.model, loaded.version, now_ms))
    return out


def output_names(loaded: LoadedModel) -> tuple[str, str]:
    """Names of the outputs with the items and the scores."""
    recommendation = loaded.bundle.manifest.recommendation
    assert recommendation is not None  # noqa: S101 - open_bundle demands one of a recommender
    return recommendation.items, recommendation.scores


def width(loaded: LoadedModel) -> int:
    """How many items the model gives at most, where its graph says so; else DEFAULT_WIDTH."""
    name, _ = output_names(loaded)
    tensor = next(tensor for tensor in loaded.session.outputs if tensor.name == name)
    return tensor.shape[1] if tensor.shape[1] > 0 else DEFAULT_WIDTH


def popular(loaded: LoadedModel, now_ms: int) -> Answer:
    """The catalogue's popular items, with scores that only say their order."""
    catalogue = loaded.bundle.catalogue
    ids = [catalogue.ids[row] for row in catalogue.popular] if catalogue else []
    return Answer(ids, [1.0 / (rank + 1) for rank in range(len(ids))], loaded.model, loaded.version, now_ms)
