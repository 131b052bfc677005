"""Our own check of a graph before ONNX Runtime sees it: a model is code from outside.

Runs in the trial's throw-away process. Weights are not read: only where they are said to be is looked at.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import onnx
from google.protobuf.message import DecodeError

from protos.nearline.v1 import status_pb2
from serving.bundles.bundle import GRAPH, WEIGHTS
from serving.errors import ModelError

MAX_GRAPH_BYTES = 2**31 - 1
"""protobuf's own limit."""

DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
_EXTERNAL_KEYS = frozenset({"location", "offset", "length", "checksum"})


def check_graph(folder: Path) -> onnx.ModelProto:
    """Return the parsed graph without its weights, or raise ModelError: LOAD (not a graph) or POLICY."""
    path = folder / GRAPH
    if path.is_symlink() or not path.is_file():
        raise _policy(f"{GRAPH}: expected a regular file")
    if path.stat().st_size > MAX_GRAPH_BYTES:
        raise _policy(f"{GRAPH}: expected at most {MAX_GRAPH_BYTES} bytes, got {path.stat().st_size}")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except DecodeError as error:
        raise ModelError(status_pb2.LOAD, f"{GRAPH}: expected an ONNX graph, got bytes that are none") from error
    if not model.graph.node and not model.graph.output:
        raise ModelError(status_pb2.LOAD, f"{GRAPH}: expected an ONNX graph, got an empty one")
    for imported in model.opset_import:
        _check_domain(imported.domain, "opset import")
    for graph in _graphs(model):
        for node in graph.node:
            _check_domain(node.domain, f"operator {node.op_type}")
        for tensor in _tensors(graph):
            _check_tensor(tensor, folder)
    return model


class Operator(NamedTuple):
    """An operator that a graph uses, and the opset of its domain that the graph goes by."""

    domain: str
    name: str
    opset: int


def operators_of(model: onnx.ModelProto) -> list[Operator]:
    """List the operators of a graph, those inside of others and of its functions included, each once, sorted."""
    own = {(function.domain, function.name) for function in model.functions}
    found = set()
    for outermost in _outermost(model):
        imports = (outermost if isinstance(outermost, onnx.FunctionProto) else model).opset_import
        opsets = {_plain(imported.domain): imported.version for imported in imports}
        nodes = (node for graph in _nested(outermost) for node in graph.node)
        used = (node for node in nodes if (node.domain, node.op_type) not in own)
        found |= {Operator(_plain(n.domain), n.op_type, opsets.get(_plain(n.domain), 1)) for n in used}
    return sorted(found)


def _plain(domain: str) -> str:
    """The default domain has two names."""
    return "" if domain == "ai.onnx" else domain


def _policy(message: str) -> ModelError:
    return ModelError(status_pb2.POLICY, message, rejected=True)


def _check_domain(domain: str, what: str) -> None:
    if domain not in DOMAINS:
        raise _policy(f"{what}: expected one of the domains {sorted(DOMAINS)}, got {domain!r}")


def _check_tensor(tensor: onnx.TensorProto, folder: Path) -> None:
    if any(size < 0 for size in tensor.dims):
        raise _policy(f"weights {tensor.name!r}: expected sizes of 0 and more, got {list(tensor.dims)}")
    if tensor.data_location != onnx.TensorProto.EXTERNAL and not tensor.external_data:
        return
    said = {entry.key: entry.value for entry in tensor.external_data}
    if len(said) != len(tensor.external_data):
        raise _policy(f"weights {tensor.name!r}: expected each key of its place once, got one twice")
    if unknown := sorted(set(said) - _EXTERNAL_KEYS):
        raise _policy(f"weights {tensor.name!r}: expected only {sorted(_EXTERNAL_KEYS)}, got {unknown}")
    if said.get("location") != WEIGHTS:
        raise _policy(
            f"weights {tensor.name!r}: expected the location {WEIGHTS!r}, got {said.get('location', '')[:80]!r}"
        )
    path = folder / WEIGHTS
    if path.is_symlink() or not path.is_file() or path.stat().st_nlink > 1:
        raise _policy(f"{WEIGHTS}: expected a regular file of its own")
    try:
        offset, length = int(said.get("offset", 0)), int(said.get("length", 0))
    except ValueError:
        raise _policy(f"weights {tensor.name!r}: expected numbers for offset and length") from None
    if offset < 0 or length < 0 or offset + length > path.stat().st_size:
        raise _policy(
            f"weights {tensor.name!r}: expected to lie within the {path.stat().st_size} bytes of {WEIGHTS}, "
            f"got offset {offset} and length {length}"
        )


def _graphs(model: onnx.ModelProto) -> Iterator[onnx.GraphProto | onnx.FunctionProto]:
    """Every graph, those inside of operators and functions included."""
    for outermost in _outermost(model):
        yield from _nested(outermost)


def _outermost(model: onnx.ModelProto) -> list[onnx.GraphProto | onnx.FunctionProto]:
    return [model.graph, *model.functions]


def _nested(outermost: onnx.GraphProto | onnx.FunctionProto) -> Iterator[onnx.GraphProto | onnx.FunctionProto]:
    """One, and those inside of its operators."""
    waiting = [outermost]
    while waiting:
        graph = waiting.pop()
        yield graph
        for attribute in _attributes(graph):
            waiting += [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]


def _tensors(graph: onnx.GraphProto | onnx.FunctionProto) -> Iterator[onnx.TensorProto]:
    if isinstance(graph, onnx.GraphProto):
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
    for attribute in _attributes(graph):
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        for sparse in (
            *([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []),
            *attribute.sparse_tensors,
        ):
            yield from (sparse.values, sparse.indices)


def _attributes(graph: onnx.GraphProto | onnx.FunctionProto) -> Iterator[onnx.AttributeProto]:
    """Of its operators; and the defaults of a function's own."""
    for node in graph.node:
        yield from node.attribute
    if isinstance(graph, onnx.FunctionProto):
        yield from graph.attribute_proto
