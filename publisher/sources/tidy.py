"""Takes out of a converted graph what is not the model: names that a converter counts on, paths, times, stack traces.

What stays is a function of the model alone, so the same model has the same digest in any process.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import onnx
from numpy.typing import NDArray

Scope = onnx.GraphProto | onnx.FunctionProto


def tidy(converted: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy with the same operators, inputs and outputs, and nothing that changes from export to export."""
    model = onnx.ModelProto()
    model.CopyFrom(converted)
    _tensors_for_maps(model.graph)
    model.graph.name = "model"
    model.doc_string = ""
    del model.metadata_props[:]
    kept = {value.name for value in (*model.graph.input, *model.graph.output)}
    scopes: list[Scope] = [model.graph, *model.functions]
    for scope in scopes:
        public = (*scope.input, *scope.output) if isinstance(scope, onnx.FunctionProto) else sorted(kept)
        _rename(scope, {"": "", **{name: name for name in public}})
    sizes: dict[str, str] = {}
    for value in (*model.graph.input, *model.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_param = sizes.setdefault(dim.dim_param, f"size_{len(sizes)}" if sizes else "batch")
    order = sorted(model.graph.initializer, key=lambda tensor: tensor.name)
    del model.graph.initializer[:]
    model.graph.initializer.extend(order)
    return model


def declare_shapes(model: onnx.ModelProto, outputs: Sequence[NDArray[Any]], rows: int) -> None:
    """Correct outputs whose declared shape is not what came for `rows` rows: converters declare wrong ones."""
    for value, array in zip(model.graph.output, outputs, strict=True):
        tensor = value.type.tensor_type
        sizes = [dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim]
        fits = len(sizes) == array.ndim and all(
            size in {None, actual} for size, actual in zip(sizes, array.shape, strict=False)
        )
        if fits and tensor.HasField("shape"):
            continue
        free = [size if at or size != rows else "batch" for at, size in enumerate(array.shape)]
        value.CopyFrom(onnx.helper.make_tensor_value_info(value.name, tensor.elem_type, free))


def _tensors_for_maps(graph: onnx.GraphProto) -> None:
    """Maps of probabilities by class are no tensors: answer what they are made of, in the order of the classes."""
    for node in [node for node in graph.node if node.op_type == "ZipMap"]:
        for at, value in enumerate(graph.output):
            if value.name == node.output[0]:
                (made,) = (one for one in graph.node if node.input[0] in one.output)
                made.output[list(made.output).index(node.input[0])] = value.name
                labels = node.attribute[0]
                classes = len(labels.ints) or len(labels.strings)
                graph.output[at].CopyFrom(
                    onnx.helper.make_tensor_value_info(value.name, onnx.TensorProto.FLOAT, ["batch", classes])
                )
        graph.node.remove(node)


def _rename(scope: Scope, names: dict[str, str]) -> None:
    """Number the values in the order of the operators; what is named equally stays so, in the graphs inside, too."""

    def new(name: str) -> str:
        return names.setdefault(name, f"v{len(names)}")

    scope.doc_string = ""
    del scope.metadata_props[:]
    # What nothing shows the type of may be left out; it is inferred anew.
    del scope.value_info[:]
    for at, node in enumerate(scope.node):
        node.name, node.doc_string = f"n{at}", ""
        del node.metadata_props[:]
        for ends in (node.input, node.output):
            fresh = [new(name) for name in ends]
            del ends[:]
            ends.extend(fresh)
        for graph in _inside(node):
            graph.name = "body"
            _rename(graph, names)
    if isinstance(scope, onnx.GraphProto):
        for value in (*scope.input, *scope.output):
            value.name, value.doc_string = new(value.name), ""
            del value.metadata_props[:]
        for tensor in scope.initializer:
            tensor.name, tensor.doc_string = new(tensor.name), ""
            del tensor.metadata_props[:]
        for sparse in scope.sparse_initializer:
            sparse.values.name = new(sparse.values.name)
        del scope.quantization_annotation[:]


def _inside(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        attribute.doc_string = ""
        if attribute.HasField("t"):
            attribute.t.name, attribute.t.doc_string = "", ""
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs
