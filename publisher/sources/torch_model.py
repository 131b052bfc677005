"""PyTorch: an nn.Module with example inputs, an ExportedProgram or its .pt2 file, exported by torch.onnx."""

import inspect
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from publisher.sources.converted import converted
from publisher.sources.extras import extra, first_line
from publisher.sources.source import Samples, Source, check_rows, inputs_of
from serving.errors import InvalidRequestError, UserError


def from_torch(model: Any, samples: Samples | NDArray[Any] | None) -> Source:
    """Export and compare; UserError. Inputs are called as the parameters of `forward` are."""
    with extra("torch", "a PyTorch model"):
        import onnxscript  # noqa: F401, PLC0415 - an extra, which the exporter needs
        import torch  # noqa: PLC0415 - an extra
    original = _read(model, torch) if isinstance(model, Path | str) else model
    with _quiet():
        if isinstance(original, torch.nn.Module):
            return _module(original, samples, torch)
        if isinstance(original, torch.export.ExportedProgram):
            return _program(original, samples, torch)
    raise InvalidRequestError("MODEL", "an nn.Module, an ExportedProgram or a .pt2 file", type(original).__name__)


def _read(path: Path | str, torch: Any) -> Any:
    try:
        return torch.export.load(path)
    except Exception as error:
        # It raises what the file made it stumble over.
        raise InvalidRequestError("MODEL", "a .pt2 file of torch.export", f"{path}: {first_line(error)}") from error


def _module(module: Any, samples: Samples | NDArray[Any] | None, torch: Any) -> Source:
    rows = _by_parameter(module, samples, torch)
    tensors = {name: torch.from_numpy(array) for name, array in rows.items()}
    batch = torch.export.Dim("batch")
    was_training = module.training
    module.eval()
    try:
        with torch.no_grad():
            said = _answer(module, (), tensors)
            graph = _export(
                torch, module, args=(), kwargs=tensors, dynamic_shapes={name: {0: batch} for name in tensors}
            )
    finally:
        module.train(was_training)
    return converted(graph, rows, _named(graph, said), "torch")


def _by_parameter(module: Any, samples: Samples | NDArray[Any] | None, torch: Any) -> dict[str, NDArray[Any]]:
    """Example inputs, in the order of the parameters, 2 rows at least: of 1 the exporter believes that it stays so."""
    parameters = inspect.signature(module.forward).parameters
    if samples is None:
        raise UserError(
            f"samples: a PyTorch module says nothing of its inputs ({', '.join(parameters)}); give example rows "
            "(--sample)"
        )
    if isinstance(samples, np.ndarray):
        samples = {next(iter(parameters), "x"): samples}
    needed = {name for name, one in parameters.items() if one.default is one.empty and one.kind < one.VAR_POSITIONAL}
    if not needed <= set(samples) <= set(parameters):
        raise InvalidRequestError("samples", f"an array for each of {sorted(needed)}", sorted(samples))
    arrays = {name: np.ascontiguousarray(samples[name]) for name in parameters if name in samples}
    check_rows(arrays)
    for name, array in arrays.items():
        if array.dtype.kind not in "iufb":
            raise InvalidRequestError(f"samples[{name!r}]", "numbers", array.dtype)
    kinds = {weights.dtype for weights in module.parameters() if weights.is_floating_point()}
    if torch.float64 not in kinds:
        arrays = {name: a.astype(np.float32) if a.dtype == np.float64 else a for name, a in arrays.items()}
    return {name: np.repeat(array, 2, axis=0) if len(array) == 1 else array for name, array in arrays.items()}


def _program(program: Any, samples: Samples | NDArray[Any] | None, torch: Any) -> Source:
    """An exported program brings its example inputs, and says itself which sizes are free."""
    graph = _export(torch, program)
    names = [value.name for value in inputs_of(graph)]
    flat, _ = torch.utils._pytree.tree_flatten(program.example_inputs)  # noqa: SLF001 - torch offers no other
    if isinstance(samples, np.ndarray):
        samples = dict.fromkeys(names[:1], samples)
    if samples is not None and set(samples) != set(names):
        raise InvalidRequestError("samples", f"an array for each of {names}", sorted(samples))
    given = [torch.from_numpy(np.asarray(samples[name])) for name in names] if samples is not None else flat
    given = [tensor.to(example.dtype) for tensor, example in zip(given, flat, strict=True)]
    _, shape = torch.utils._pytree.tree_flatten(program.example_inputs)  # noqa: SLF001 - as above
    args, kwargs = torch.utils._pytree.tree_unflatten(given, shape)  # noqa: SLF001 - as above
    with torch.no_grad():
        said = _answer(program.module(), args, kwargs)
    rows = {name: tensor.numpy() for name, tensor in zip(names, given, strict=True)}
    return converted(graph, rows, _named(graph, said), "torch")


def _answer(module: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[NDArray[Any]]:
    try:
        said = module(*args, **kwargs)
    except Exception as error:
        # Modules check their input in ways of their own.
        raise UserError(f"samples: the model itself cannot answer for them: {first_line(error)}") from error
    flat = said.values() if isinstance(said, Mapping) else said if isinstance(said, tuple | list) else [said]
    return [tensor.numpy() for tensor in flat]


def _named(graph: onnx.ModelProto, said: list[NDArray[Any]]) -> list[tuple[str, NDArray[Any]]]:
    return [(value.name, array) for value, array in zip(graph.graph.output, said, strict=False)]


def _export(torch: Any, model: Any, **settings: Any) -> onnx.ModelProto:
    try:
        exported: onnx.ModelProto = torch.onnx.export(model, dynamo=True, verbose=False, **settings).model_proto
    except Exception as error:
        # The exporter fails in ways of its own.
        raise UserError(
            f"MODEL: exporting {type(model).__name__} with torch.onnx failed ({first_line(error)})"
        ) from error
    return exported


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter warns of what is missing for other models, and of names that it does not use."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logger.setLevel(level)
