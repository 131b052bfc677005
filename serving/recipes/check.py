"""Whether a recipe fits a graph's inputs: name, datatype, shape. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from serving.recipes.features import Age, Constant, Count, Distinct, Last, LastN, Request
from serving.recipes.recipe import Feature, Recipe

_WHOLE = ("INT32", "INT64")
_REAL = ("FP32", "FP64")
_NUMBERS = (*_REAL, *_WHOLE, "BOOL")
_TEXT = ("BYTES",)
_LIMITS: dict[str, "np.iinfo[Any]"] = {"INT32": np.iinfo(np.int32), "INT64": np.iinfo(np.int64)}


class Input(Protocol):
    """An input of a graph: Open Inference Protocol datatype, -1 for any size."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def datatype(self) -> str: ...  # noqa: D102
    @property
    def shape(self) -> tuple[int, ...]: ...  # noqa: D102


def check_recipe(recipe: Recipe, inputs: Sequence[Input]) -> None:
    """Raise ValueError `recipe.<input>: expected …, got …` for the first thing that does not fit."""
    known = {tensor.name: tensor for tensor in inputs}
    masks: set[str] = set()
    for name, feature in recipe.items():
        tensor = _known(f"recipe.{name}", known, name)
        _check_datatype(name, feature, tensor)
        _check_shape(f"recipe.{name}", tensor, feature.n if isinstance(feature, LastN) else None)
        if isinstance(feature, LastN) and feature.mask is not None:
            mask = _known(f"recipe.{name}.mask", known, feature.mask)
            if feature.mask in recipe or feature.mask in masks:
                raise ValueError(f"recipe.{name}.mask: expected an input of its own, got {feature.mask!r}")
            masks.add(feature.mask)
            _demand(f"recipe.{name}.mask", _NUMBERS, mask)
            _check_shape(f"recipe.{name}.mask", mask, feature.n)
    _check_defaults(recipe)


def covered(recipe: Recipe) -> set[str]:
    """Return the inputs that the recipe makes, masks among them."""
    return {*recipe, *(f.mask for f in recipe.values() if isinstance(f, LastN) and f.mask is not None)}


def _known(where: str, inputs: Mapping[str, Input], name: str) -> Input:
    if name not in inputs:
        raise ValueError(f"{where}: expected one of the inputs {sorted(inputs)}, got {name!r}")
    return inputs[name]


def _check_datatype(name: str, feature: Feature, tensor: Input) -> None:
    where = f"recipe.{name}"
    match feature:
        case Last() | LastN():
            which = {"rows": _WHOLE, "numbers": _NUMBERS, "text": _TEXT}[feature.values]
            _demand(where, which, tensor)
            _check_value(f"{where}.{'pad' if isinstance(feature, LastN) else 'missing'}", feature.fill, tensor)
            _check_value(f"{where}.unknown", feature.unknown, tensor)
        case Request() if feature.vocabulary is not None:
            _demand(where, _WHOLE, tensor)
            _check_value(f"{where}.unknown", feature.unknown, tensor)
        case Request() | Constant():
            value = feature.default if isinstance(feature, Request) else feature.value
            _demand(where, _TEXT if isinstance(value, str) else _NUMBERS, tensor)
            _check_value(f"{where}.{'default' if isinstance(feature, Request) else 'value'}", value, tensor)
        case Count() | Distinct() | Age():
            _demand(where, (*_REAL, *_WHOLE), tensor)
            if isinstance(feature, Age):
                _check_value(f"{where}.missing", feature.missing, tensor)
        case _:
            _demand(where, _REAL, tensor)


def _demand(where: str, datatypes: Sequence[str], tensor: Input) -> None:
    if tensor.datatype not in datatypes:
        *most, last = datatypes
        words = f"{', '.join(most)} or {last}" if most else last
        raise ValueError(f"{where}: expected an input of {words}, got {tensor.datatype}")


def _check_value(where: str, value: float | str | None, tensor: Input) -> None:
    limits = _LIMITS.get(tensor.datatype)
    if limits and isinstance(value, int | float) and not (value == int(value) and limits.min <= value <= limits.max):
        raise ValueError(f"{where}: expected a whole number that {tensor.datatype} holds, got {value}")
    if tensor.datatype == "BOOL" and value not in {None, 0, 1}:
        raise ValueError(f"{where}: expected 0 or 1 for BOOL, got {value}")


def _check_shape(where: str, tensor: Input, n: int | None) -> None:
    if n is None:
        if tuple(tensor.shape) not in {(-1,), (-1, 1)}:
            raise ValueError(f"{where}: expected an input of shape [-1] or [-1, 1], got {tuple(tensor.shape)}")
    elif len(tensor.shape) != 2 or tensor.shape[0] != -1 or tensor.shape[1] not in {-1, n}:  # noqa: PLR2004 - [batch, n]
        raise ValueError(f"{where}: expected an input of shape [-1, {n}], got {tuple(tensor.shape)}")


def _check_defaults(recipe: Recipe) -> None:
    """A request says a field once, so that leaving it out must mean one thing."""
    seen: dict[str, tuple[str, int | float | str]] = {}
    for name, feature in recipe.items():
        if isinstance(feature, Request):
            other, default = seen.setdefault(feature.field, (name, feature.default))
            if type(feature.default) is not type(default) or feature.default != default:
                raise ValueError(
                    f"recipe.{name}.default: expected {default!r} as of {other!r}, which reads the same field, "
                    f"got {feature.default!r}"
                )
