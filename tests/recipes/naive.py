"""What a recipe means, told in the plainest way: every event kept, every feature computed from all of them."""

from collections.abc import Mapping, Sequence
from typing import Any

from serving.recipes.event import Event
from serving.recipes.features import (
    Age,
    Constant,
    Count,
    Distinct,
    Last,
    LastN,
    Max,
    Mean,
    OfEvents,
    Request,
    Sum,
    Windowed,
)
from serving.recipes.recipe import Feature, Recipe
from serving.recipes.scalars import Scalar


def features(
    recipe: Recipe, events: Sequence[Event], instant: int, request: Mapping[str, Scalar], catalogue: Sequence[str]
) -> dict[str, Any]:
    """One entity's features; a list for last_n, and its mask under its own name."""
    once = {event.id: event for event in events}.values()
    past = sorted((e for e in once if e.ts_ms < instant), key=lambda e: (e.ts_ms, e.id))
    out: dict[str, Any] = {}
    for name, feature in recipe.items():
        out[name] = one(feature, past, instant, request, catalogue)
        if isinstance(feature, LastN) and feature.mask:
            found = len(_newest(feature, past, catalogue))
            out[feature.mask] = [0] * (feature.n - found) + [1] * found
    return out


def one(  # noqa: C901, PLR0911, PLR0912 - a line for each operation
    feature: Feature, past: Sequence[Event], instant: int, request: Mapping[str, Scalar], catalogue: Sequence[str]
) -> Any:
    if isinstance(feature, OfEvents) and feature.types:
        past = [e for e in past if e.type in feature.types]
    match feature:
        case Constant():
            return feature.value
        case Request():
            said = request.get(feature.field, feature.default)
            return said if feature.vocabulary is None else row(said, feature, catalogue, feature.unknown)
        case Age():
            return (instant - past[-1].ts_ms) / 1000 if past else feature.missing
        case Last():
            found = [v for e in past if (v := value(feature, e)) is not None][-1:]
            if not found:
                return feature.missing
            return row(found[0], feature, catalogue, feature.missing) if feature.vocabulary else found[0]
        case LastN():
            found = _newest(feature, past, catalogue)
            return [feature.pad] * (feature.n - len(found)) + found
        case Windowed():
            newest = (instant - 1) // feature.width_ms
            past = [e for e in past if e.ts_ms // feature.width_ms > newest - feature.buckets]
    if isinstance(feature, Count):
        return len(past)
    fields = [e.fields.get(feature.field) for e in past]
    if isinstance(feature, Distinct):
        return min(len({text(v) for v in fields} - {None, ""}), feature.limit)
    numbers = [float(v) for v in fields if isinstance(v, int | float)]
    match feature:
        case Sum():
            return sum(numbers)
        case Mean():
            return sum(numbers) / len(numbers) if numbers else feature.missing
        case Max():
            return max(numbers, default=feature.missing)
    raise AssertionError(feature)


def text(value: Scalar) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return str(value).lower() if isinstance(value, bool) else str(value)


def value(feature: Last | LastN, event: Event) -> Any:
    found = event.fields.get(feature.field)
    if feature.values == "rows":
        return text(found) or None
    if feature.values == "text":
        return found if isinstance(found, str) and found else None
    return float(found) if isinstance(found, int | float) else None


def row(value: Any, feature: Last | LastN | Request, catalogue: Sequence[str], otherwise: Any) -> Any:
    words = catalogue if feature.vocabulary == "catalogue" else feature.vocabulary
    assert words is not None
    if value in words:
        return list(words).index(value)
    return otherwise if feature.unknown is None else feature.unknown


def _newest(feature: LastN, past: Sequence[Event], catalogue: Sequence[str]) -> list[Any]:
    if feature.types:
        past = [e for e in past if e.type in feature.types]
    found = [v for e in past if (v := value(feature, e)) is not None][-max(feature.n, 100) :]
    if feature.values == "rows":
        found = [r for v in found if (r := row(v, feature, catalogue, None)) is not None]
    return found[-feature.n :]
