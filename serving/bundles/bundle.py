"""A bundle on disk: the folder that a version is made of, opened and checked.

model.onnx          the graph; weights above 1 KiB are not in it
model.onnx.data     those weights, memory-mapped by every worker (only where there are any)
manifest.json       the contract
catalogue.msgpack   what the rows are (recommenders)
samples.npz         warm-up samples: an array for each input, the same number of rows in each
baseline.msgpack    sketches of the training data; nodes do not read it
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from protos.nearline.v1 import status_pb2
from serving.bundles.catalogue import Catalogue, read_catalogue
from serving.bundles.manifest import Manifest, read_manifest
from serving.bundles.samples import read_samples
from serving.errors import ModelError

GRAPH = "model.onnx"
WEIGHTS = "model.onnx.data"
MANIFEST = "manifest.json"
CATALOGUE = "catalogue.msgpack"
SAMPLES = "samples.npz"
BASELINE = "baseline.msgpack"

FILES = frozenset({GRAPH, WEIGHTS, MANIFEST, CATALOGUE, SAMPLES, BASELINE})
EXTERNAL_BYTES = 1024
"""Weights larger than that are external."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """An opened folder."""

    folder: Path
    manifest: Manifest
    catalogue: Catalogue | None

    def samples(self) -> dict[str, NDArray[Any]]:
        """Read the warm-up samples, by input; strings as object arrays. ModelError(MANIFEST)."""
        arrays = read_samples(self.folder / SAMPLES)
        expected = sorted(tensor.name for tensor in self.manifest.inputs)
        if sorted(arrays) != expected:
            raise ModelError(
                status_pb2.MANIFEST, f"{SAMPLES}: expected the inputs {expected}, got {sorted(arrays)}", rejected=True
            )
        return arrays


def open_bundle(folder: Path) -> Bundle:
    """Read the small files and check that they fit together; ModelError(MANIFEST)."""
    extra = sorted({path.name for path in folder.iterdir()} - FILES)
    if extra:
        raise ModelError(status_pb2.POLICY, f"files: expected some of {sorted(FILES)}, got {extra}", rejected=True)
    manifest = read_manifest(_read(folder, MANIFEST))
    catalogue = read_catalogue(_read(folder, CATALOGUE)) if (folder / CATALOGUE).exists() else None
    if manifest.recommendation and catalogue is None:
        raise ModelError(
            status_pb2.MANIFEST, f"{CATALOGUE}: expected in a recommender's bundle, got none", rejected=True
        )
    return Bundle(folder, manifest, catalogue)


def _read(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        raise ModelError(status_pb2.MANIFEST, f"{name}: {error.strerror}", rejected=True) from error
