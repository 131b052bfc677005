"""What a bundle is, as plain values for people, programs and comparisons. Nothing of the model is run."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError

from protos.nearline.v1 import status_pb2
from publisher.stored import Stored
from serving.bundles.baseline import read_summary
from serving.bundles.bundle import BASELINE, GRAPH, open_bundle
from serving.bundles.manifest import Manifest, Tensor
from serving.errors import ModelError

DESCRIBED = ("owner", "description", "tags", "limits", "stale_after", "lineage", "recipe", "nearline")


def describe(stored: Stored) -> dict[str, Any]:
    """Return sections by name, JSON values throughout; ModelError names the file that is not as it should be."""
    bundle = open_bundle(stored.folder)
    said = bundle.manifest.model_dump(mode="json")
    samples = {len(array) if array.ndim else 1 for array in bundle.samples().values()}
    return {
        "digest": stored.digest,
        "signature": _signature(bundle.manifest),
        **{name: said[name] for name in DESCRIBED},
        "recommendation": said["recommendation"],
        "catalogue": {"items": len(bundle.catalogue.ids)} if bundle.catalogue else None,
        "samples": {"rows": max(samples, default=0)},
        "sizes": {"total": sum(file.size for file in stored.files), **{file.path: file.size for file in stored.files}},
        "graph": _graph(read_graph(stored.folder)),
        "baseline": _baseline(stored.folder),
    }


def read_graph(folder: Path) -> onnx.ModelProto:
    """Parse the graph, without its external weights; ModelError(LOAD)."""
    try:
        return onnx.ModelProto.FromString((folder / GRAPH).read_bytes())
    except (OSError, DecodeError) as error:
        raise ModelError(status_pb2.LOAD, f"{GRAPH}: expected an ONNX graph, got {error}", rejected=True) from error


def inner_graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """Yield a graph, and those inside of its operators."""
    waiting = [graph]
    while waiting:
        one = waiting.pop()
        yield one
        for attribute in (attribute for node in one.node for attribute in node.attribute):
            waiting += [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]


def operator(node: onnx.NodeProto) -> str:
    """Name an operator: `Gather`, `ai.onnx.ml.LinearClassifier`."""
    return f"{node.domain}.{node.op_type}" if node.domain not in {"", "ai.onnx"} else node.op_type


def _signature(manifest: Manifest) -> dict[str, Any]:
    def shown(tensors: tuple[Tensor, ...]) -> dict[str, str]:
        return {tensor.name: f"{tensor.datatype} {list(tensor.shape)}" for tensor in tensors}

    return {"inputs": shown(manifest.inputs), "outputs": shown(manifest.outputs)}


def _graph(model: onnx.ModelProto) -> Mapping[str, Any]:
    graphs = list(inner_graphs(model.graph))
    counted = Counter(operator(node) for graph in graphs for node in graph.node)
    return {
        "ir_version": model.ir_version,
        "opsets": {opset.domain or "ai.onnx": opset.version for opset in model.opset_import},
        "weights": sum(math.prod(tensor.dims) for graph in graphs for tensor in graph.initializer),
        "operators": dict(sorted(counted.items())),
    }


def _baseline(folder: Path) -> dict[str, Any] | None:
    path = folder / BASELINE
    return read_summary(path.read_bytes()) if path.exists() else None
