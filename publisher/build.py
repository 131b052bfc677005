"""Builds a bundle: the folder that a version is made of. The same input gives the same digest."""

import hashlib
import sys
from pathlib import Path
from typing import Any

import onnx
from onnx.external_data_helper import convert_model_to_external_data
from pydantic import ValidationError

from protos.digest import FileEntry
from publisher.baseline import make_baseline
from publisher.sources.source import Source
from serving.bundles.about import About
from serving.bundles.bundle import BASELINE, CATALOGUE, EXTERNAL_BYTES, GRAPH, MANIFEST, SAMPLES, WEIGHTS
from serving.bundles.catalogue import Catalogue
from serving.bundles.look import Bounds, look_at
from serving.bundles.manifest import Manifest, Recommendation
from serving.bundles.nearline import NearlineSettings
from serving.bundles.samples import encode_samples
from serving.errors import UserError
from serving.recipes.recipe import Recipe


def build_bundle(
    source: Source,
    folder: Path,
    *,
    recipe: Recipe | None = None,
    recommendation: Recommendation | None = None,
    catalogue: Catalogue | None = None,
    nearline: NearlineSettings | None = None,
    about: About | None = None,
    training_data: Any = None,
    bounds: Bounds = Bounds(),  # noqa: B008 - a tuple
) -> list[FileEntry]:
    """Write the files into an empty folder and list them; UserError when manifest and graph do not fit.

    ModelError when the graph cannot be loaded, within `bounds`. `training_data`: as publisher/baseline.py takes it; it
    has to fit the graph's inputs.
    """
    _write_graph(source.graph, folder)
    inputs, outputs = look_at(folder, bounds)
    try:
        manifest = Manifest(
            **dict(about or About()),
            inputs=inputs,
            outputs=outputs,
            recipe=recipe or {},
            recommendation=recommendation,
            nearline=nearline or NearlineSettings(),
        )
    except ValidationError as error:
        words = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        raise UserError(f"manifest: {words}") from error
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=1) + "\n")
    (folder / SAMPLES).write_bytes(encode_samples(source.samples))
    if catalogue is not None:
        (folder / CATALOGUE).write_bytes(catalogue.encode())
    baseline = make_baseline(training_data, source.samples, manifest.inputs, manifest.recipe, catalogue)
    (folder / BASELINE).write_bytes(baseline.encode())
    return list_files(folder)


def list_files(folder: Path) -> list[FileEntry]:
    """Name the files of a bundle's folder, with size and SHA-256, as they are announced."""
    return [_entry(path) for path in sorted(folder.iterdir())]


def _write_graph(graph: onnx.ModelProto, folder: Path) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(graph)
    # Converters name a domain twice, and the default one by both of its names.
    opsets: dict[str, int] = {}
    for imported in graph.opset_import:
        domain = "" if imported.domain == "ai.onnx" else imported.domain
        opsets[domain] = max(imported.version, opsets.get(domain, 0))
    del model.opset_import[:]
    model.opset_import.extend(onnx.helper.make_opsetid(domain, version) for domain, version in sorted(opsets.items()))
    for tensor in model.graph.initializer:
        # Only raw bytes can be external; some exporters list numbers instead.
        if not tensor.HasField("raw_data") and tensor.data_type != onnx.TensorProto.STRING:
            tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor), tensor.name))
    # It compares with the size of the Python object, from the threshold on.
    above = EXTERNAL_BYTES + sys.getsizeof(b"") + 1
    convert_model_to_external_data(model, location=WEIGHTS, size_threshold=above, convert_attribute=False)
    model = onnx.external_data_helper.write_external_data_tensors(model, str(folder))
    (folder / GRAPH).write_bytes(model.SerializeToString(deterministic=True))


def _entry(path: Path) -> FileEntry:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return FileEntry(path.name, digest, path.stat().st_size)
