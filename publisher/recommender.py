"""What makes a model a recommender: a catalogue, a recipe for its inputs, and the outputs that hold its answer."""

from collections.abc import Sequence
from dataclasses import dataclass

import onnx

from publisher.sources.source import inputs_of
from serving.bundles.catalogue import Catalogue, make_catalogue
from serving.bundles.manifest import Recommendation
from serving.errors import InvalidRequestError
from serving.recipes.recipe import LastN, Recipe

POPULAR = 1000
"""Popular items that a bundle keeps: more than any row of a page shows, after what is excluded."""


@dataclass(frozen=True, slots=True)
class Described:
    """What the bundle says beside the graph; all None for a model that is none."""

    recipe: Recipe | None = None
    recommendation: Recommendation | None = None
    catalogue: Catalogue | None = None


def describe_recommender(
    graph: onnx.ModelProto, items: Sequence[str] | None, popular: Sequence[str] | None, recipe: Recipe | None
) -> Described:
    """Describe the model; InvalidRequestError names what is missing. Without items it is no recommender."""
    if items is None:
        if popular is not None:
            raise InvalidRequestError("items", "the catalogue, since popular items are given", "none")
        return Described(recipe=recipe)
    rows = {item: row for row, item in enumerate(items)}
    unknown = [item for item in popular or () if item not in rows]
    if unknown:
        raise InvalidRequestError("popular", "items of the catalogue", repr(unknown[0]))
    order = [rows[item] for item in popular] if popular is not None else list(range(len(items)))
    catalogue = make_catalogue(items, order[:POPULAR])
    return Described(recipe or _default_recipe(graph), _outputs(graph), catalogue)


def _outputs(graph: onnx.ModelProto) -> Recommendation:
    """Those called `items` and `scores`; of exporters that choose the names, the only whole numbers and only floats."""
    default = Recommendation()
    types = {value.name: value.type.tensor_type.elem_type for value in graph.graph.output}
    if types.keys() & {default.items, default.scores}:
        return default
    rows = [name for name, dtype in types.items() if dtype == onnx.TensorProto.INT64]
    scores = [name for name, dtype in types.items() if dtype == onnx.TensorProto.FLOAT]
    if len(rows) == len(scores) == 1:
        return Recommendation(items=rows[0], scores=scores[0])
    return default  # the manifest tells what is missing


def _default_recipe(graph: onnx.ModelProto) -> Recipe:
    """The last items, for every input, as many as it is wide."""
    recipe: Recipe = {}
    for value in inputs_of(graph):
        sizes = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        if len(sizes) != 2 or sizes[1] < 1:  # noqa: PLR2004 - [batch, n]
            raise InvalidRequestError(f"recipe.{value.name}", "a recipe, or an input of shape [batch, n]", sizes)
        recipe[value.name] = LastN(n=sizes[1])
    return recipe
