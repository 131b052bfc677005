"""Feature recipes: for each input of a model, how it comes from an entity's events and the request. Pure.

One definition, checked when publishing against the graph's inputs, and computed the same near-line, online and, for
training, from a table of past events.
"""

from typing import Annotated, Any

from pydantic import Discriminator, Tag

from serving.recipes.features import (
    Age,
    Constant,
    Count,
    Distinct,
    Last,
    LastN,
    Max,
    Mean,
    Request,
    Sum,
    Windowed,
)

__all__ = ["DEFAULT_OP", "OPS", "Feature", "LastN", "Recipe", "changing_inputs", "request_fields"]

DEFAULT_OP = "last_n"
"""The first release knew no other, and its manifests may leave it out."""

OPS = ("last", "last_n", "count", "sum", "mean", "max", "distinct", "age", "request", "constant")


def _op(said: Any) -> str | None:
    if isinstance(said, dict):
        op = said.get("op", DEFAULT_OP)
        return op if isinstance(op, str) else ""
    return getattr(said, "op", None)


Feature = Annotated[
    Annotated[Last, Tag("last")]
    | Annotated[LastN, Tag("last_n")]
    | Annotated[Count, Tag("count")]
    | Annotated[Sum, Tag("sum")]
    | Annotated[Mean, Tag("mean")]
    | Annotated[Max, Tag("max")]
    | Annotated[Distinct, Tag("distinct")]
    | Annotated[Age, Tag("age")]
    | Annotated[Request, Tag("request")]
    | Annotated[Constant, Tag("constant")],
    Discriminator(_op),
]

Recipe = dict[str, Feature]
"""By the name of the model's input."""


def changing_inputs(recipe: Recipe) -> list[str]:
    """Return the inputs that change while nothing happens, so that an answer must expire."""
    return [name for name, feature in recipe.items() if isinstance(feature, Windowed | Age)]


def request_fields(recipe: Recipe) -> dict[str, int | float | str]:
    """Return the fields of a request's context that the recipe reads, with their defaults."""
    return {feature.field: feature.default for feature in recipe.values() if isinstance(feature, Request)}
