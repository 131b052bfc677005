"""Looks at what a model gave while it runs: a client must not take NaN for a prediction."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protos.nearline.v1 import status_pb2
from serving.bundles.probe import fits
from serving.errors import ModelError
from serving.models.loaded import LoadedModel


def check_outputs(
    loaded: LoadedModel, names: Sequence[str], outputs: Sequence[NDArray[Any]], inputs: Mapping[str, NDArray[Any]]
) -> None:
    """ModelError(RUN) for an output with NaN or Inf although the inputs have none, or of another shape than declared.

    A recommender may mark places without an item by a score of minus infinity.
    """
    declared = {tensor.name: tensor for tensor in loaded.session.outputs}
    scores = None if loaded.predictor is None else loaded.predictor.outputs[1]
    for name, values in zip(names, outputs, strict=True):
        if not fits(declared[name], values):
            raise ModelError(
                status_pb2.RUN,
                f"output {name!r}: expected the shape {list(declared[name].shape)}, got {list(values.shape)}",
            )
        if values.dtype.kind != "f" or np.isfinite(values).all():
            continue
        masked = name == scores and (np.isfinite(values) | np.isneginf(values)).all()
        if not masked and all(array.dtype.kind != "f" or np.isfinite(array).all() for array in inputs.values()):
            raise ModelError(status_pb2.RUN, f"output {name!r}: expected finite numbers, got NaN or Inf")
