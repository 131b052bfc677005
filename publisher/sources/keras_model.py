"""Keras and TensorFlow: a keras.Model, its .keras file, or a SavedModel folder, converted with tf2onnx."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from publisher.sources.converted import converted, version_of
from publisher.sources.extras import extra, first_line
from publisher.sources.onnx_graph import from_onnx
from publisher.sources.source import Samples, Source
from serving.errors import InvalidRequestError, UserError

_OPSET = 18
_SIGNATURE = "serving_default"
Call = Callable[..., dict[str, Any]]
"""Tensors in the order of the inputs → tensors by output."""


def from_keras(model: Any, samples: Samples | NDArray[Any] | None) -> Source:
    """Convert and compare; UserError. Inputs are called as the input layers are, outputs `output_0` and so on."""
    with extra("keras", "a Keras or TensorFlow model"):
        import keras  # noqa: PLC0415 - an extra
        import tensorflow as tf  # noqa: PLC0415 - an extra
        import tf2onnx  # noqa: PLC0415 - an extra
    original = _read(model, keras, tf) if isinstance(model, Path | str) else model
    of_keras = isinstance(original, keras.Model)
    call, specs = _keras(original, keras, tf) if of_keras else _saved(original, tf)
    try:
        graph: onnx.ModelProto = tf2onnx.convert.from_function(
            tf.function(call, autograph=False), input_signature=specs, opset=_OPSET
        )[0]
    except Exception as error:
        # Converters fail in ways of their own.
        raise UserError(
            f"MODEL: converting {type(original).__name__} with tf2onnx failed ({first_line(error)})"
        ) from error
    rows = from_onnx(graph, samples).samples
    try:
        said = call(*[tf.constant(rows[spec.name], dtype=spec.dtype) for spec in specs])
    except Exception as error:
        # Layers check their input in ways of their own.
        raise UserError(f"samples: the model itself cannot answer for them: {first_line(error)}") from error
    answers = [(value.name, np.asarray(said[value.name])) for value in graph.graph.output]
    name = "keras" if of_keras else "tensorflow"
    return converted(graph, rows, answers, name if version_of(name) else "tensorflow-cpu")


def _read(path: Path | str, keras: Any, tf: Any) -> Any:
    try:
        return tf.saved_model.load(str(path)) if Path(path).is_dir() else keras.models.load_model(path)
    except Exception as error:
        # Both raise what the file made them stumble over.
        raise InvalidRequestError("MODEL", "a .keras file or a SavedModel", f"{path}: {first_line(error)}") from error


def _keras(model: Any, keras: Any, tf: Any) -> tuple[Call, Sequence[Any]]:
    if not getattr(model, "inputs", None):
        raise UserError(
            "MODEL: expected a Keras model with inputs of a known shape, got one that was not built; call it on data "
            "once, or give it keras.Input"
        )
    specs = [
        # The tensor's own name is counted on in each process; the layer's is part of the model.
        tf.TensorSpec([None, *tensor.shape[1:]], tensor.dtype, name=tensor._keras_history.operation.name)  # noqa: SLF001
        for tensor in model.inputs
    ]

    def call(*tensors: Any) -> dict[str, Any]:
        given = tensors[0] if len(tensors) == 1 else keras.tree.pack_sequence_as(model.input, list(tensors))
        said = keras.tree.flatten(model(given, training=False))
        return {f"output_{at}": tensor for at, tensor in enumerate(said)}

    return call, specs


def _saved(model: Any, tf: Any) -> tuple[Call, Sequence[Any]]:
    signature = getattr(model, "signatures", {}).get(_SIGNATURE)
    if signature is None:
        raise UserError(f"MODEL: expected a SavedModel with the signature {_SIGNATURE}, got one without")
    specs = [
        tf.TensorSpec(spec.shape, spec.dtype, name=name)
        for name, spec in signature.structured_input_signature[1].items()
    ]

    def call(*tensors: Any) -> dict[str, Any]:
        said = signature(**{spec.name: tensor for spec, tensor in zip(specs, tensors, strict=True)})
        return {name: said[name] for name in sorted(said)}

    return call, specs
