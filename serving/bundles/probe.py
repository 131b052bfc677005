"""Runs a bundle's own samples and looks at what comes out: what warming up and the trial have in common."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from protos.nearline.v1 import status_pb2
from serving.bundles.bundle import Bundle
from serving.bundles.manifest import Tensor
from serving.bundles.session import ModelSession
from serving.errors import ModelError


def check_signature(bundle: Bundle, session: ModelSession) -> None:
    """Compare the graph with the manifest; ModelError(MANIFEST) names the first difference."""
    for what, declared, actual in (
        ("input", bundle.manifest.inputs, session.inputs),
        ("output", bundle.manifest.outputs, session.outputs),
    ):
        said, is_so = {t.name: t for t in declared}, {t.name: t for t in actual}
        for name in sorted(said.keys() | is_so.keys()):
            if said.get(name) != is_so.get(name):
                raise ModelError(
                    status_pb2.MANIFEST,
                    f"{what} {name!r}: expected {_shown(said.get(name))} as the manifest says, "
                    f"got {_shown(is_so.get(name))} in the graph",
                    rejected=True,
                )


def run_samples(bundle: Bundle, session: ModelSession) -> None:
    """Run the samples, the first one alone and all together; ModelError(WARMUP) when an answer is not sane."""
    samples = bundle.samples()
    rows = _rows(samples)
    if rows == 0:
        raise ModelError(status_pb2.WARMUP, "samples: expected at least one row, got none", rejected=True)
    batched = _batched(session)
    for count in sorted({1, rows}) if batched else (rows,):
        part = {name: array[:count] for name, array in samples.items()} if batched else samples
        try:
            outputs = session.run(part, None)
        except ModelError as error:
            raise ModelError(status_pb2.WARMUP, f"samples: {error}", detail=error.detail, rejected=True) from error
        for tensor, values in zip(session.outputs, outputs, strict=True):
            _check_output(bundle, tensor, np.asarray(values), count)


def all_rows(bundle: Bundle, session: ModelSession) -> dict[str, NDArray[Any]] | None:
    """The samples; None where the model does not take any number of rows."""
    return bundle.samples() if _batched(session) else None


def sample_rows(bundle: Bundle, session: ModelSession, count: int) -> dict[str, NDArray[Any]] | None:
    """So many rows of the samples, repeated as needed; None where the model does not take any number of them."""
    samples = bundle.samples()
    rows = _rows(samples)
    if not _batched(session) or not rows:
        return None
    return {name: array[np.arange(count) % rows] for name, array in samples.items()}


def _rows(samples: dict[str, NDArray[Any]]) -> int:
    return min((len(array) if array.ndim else 1 for array in samples.values()), default=0)


def _batched(session: ModelSession) -> bool:
    return all(tensor.shape[:1] == (-1,) for tensor in session.inputs)


def fits(tensor: Tensor, values: NDArray[Any]) -> bool:
    """Tell whether an array has as many dimensions as declared, of the sizes that are. None declared: any shape."""
    if not tensor.shape:
        return True
    return values.ndim == len(tensor.shape) and all(
        size in {-1, actual} for size, actual in zip(tensor.shape, values.shape, strict=True)
    )


def _check_output(bundle: Bundle, tensor: Tensor, values: NDArray[Any], rows: int) -> None:
    field = f"output {tensor.name!r}"
    if not fits(tensor, values):
        raise ModelError(
            status_pb2.WARMUP,
            f"{field}: expected the shape {list(tensor.shape)}, got {list(values.shape)}",
            rejected=True,
        )
    recommendation = bundle.manifest.recommendation
    is_score = recommendation is not None and tensor.name == recommendation.scores
    # A recommender may mark places without an item by a score of minus infinity.
    if values.dtype.kind == "f" and not (np.isfinite(values) | (np.isneginf(values) & is_score)).all():
        raise ModelError(status_pb2.WARMUP, f"{field}: expected finite numbers, got NaN or Inf", rejected=True)
    if tensor.shape[:1] == (-1,) and recommendation and values.shape[:1] != (rows,):
        raise ModelError(status_pb2.WARMUP, f"{field}: expected {rows} rows, got {values.shape}", rejected=True)
    if recommendation and bundle.catalogue and tensor.name == recommendation.items:
        most = int(values.max(initial=-1))
        if most >= len(bundle.catalogue.ids):
            raise ModelError(
                status_pb2.WARMUP,
                f"{field}: expected rows of the catalogue, below {len(bundle.catalogue.ids)}, got {most}",
                rejected=True,
            )


def _shown(tensor: Tensor | None) -> str:
    return f"{tensor.datatype} {list(tensor.shape)}" if tensor else "none"
