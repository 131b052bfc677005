"""What makes a model a recommender: defaults, and errors that name field, expected and actual."""

import re

import onnx
import pytest

from publisher.recommender import POPULAR, Described, describe_recommender
from serving.errors import InvalidRequestError
from serving.recipes.recipe import LastN, Recipe
from tests.builders.graphs import N, doubler, echo, recommender

ITEMS = ["a", "b", "c"]


def test_without_items_a_model_is_no_recommender() -> None:
    assert describe_recommender(doubler(), None, None, None) == Described()


def test_a_recipe_alone_is_kept() -> None:
    recipe: Recipe = {"history": LastN(n=N)}
    assert describe_recommender(recommender(), None, None, recipe) == Described(recipe=recipe)


def test_inputs_come_from_the_last_items_as_many_as_they_are_wide() -> None:
    described = describe_recommender(recommender(), ITEMS, None, None)
    assert described.recipe == {"history": LastN(n=N, field="item", pad=-1)}
    assert described.recommendation is not None
    assert (described.recommendation.items, described.recommendation.scores) == ("items", "scores")


def renamed(**names: str) -> onnx.ModelProto:
    """The recommender, with other names of its outputs."""
    graph = recommender()
    for value in graph.graph.output:
        for node in graph.graph.node:
            node.output[:] = [names.get(name, name) if name == value.name else name for name in node.output]
        value.name = names.get(value.name, value.name)
    return graph


def test_outputs_that_an_exporter_named_are_told_apart_by_their_types() -> None:
    graph = renamed(items="output_1", scores="output_0")
    said = describe_recommender(graph, ITEMS, None, None).recommendation
    assert said is not None
    assert (said.items, said.scores) == ("output_1", "output_0")


@pytest.mark.parametrize("graph", [renamed(items="rows"), renamed(scores="points")])
def test_a_name_that_is_as_it_should_be_is_a_promise_to_keep(graph: onnx.ModelProto) -> None:
    said = describe_recommender(graph, ITEMS, None, None).recommendation
    assert said is not None
    assert (said.items, said.scores) == ("items", "scores"), "and the manifest says which one is missing"


def test_of_several_outputs_of_a_type_none_is_guessed() -> None:
    graph = renamed(items="output_1", scores="output_0")
    graph.graph.node.append(onnx.helper.make_node("Identity", ["output_0"], ["output_2"]))
    graph.graph.output.append(onnx.helper.make_tensor_value_info("output_2", onnx.TensorProto.FLOAT, ["batch", 3]))
    said = describe_recommender(graph, ITEMS, None, None).recommendation
    assert said is not None
    assert (said.items, said.scores) == ("items", "scores")


def test_a_recipe_that_is_given_replaces_the_default() -> None:
    recipe: Recipe = {"history": LastN(n=N, field="film")}
    assert describe_recommender(recommender(), ITEMS, None, recipe).recipe == recipe


def test_the_order_of_items_is_their_popularity_unless_told() -> None:
    told = describe_recommender(recommender(), ITEMS, ["c", "a"], None).catalogue
    untold = describe_recommender(recommender(), ITEMS, None, None).catalogue
    assert told is not None
    assert untold is not None
    assert (list(told.popular), list(untold.popular)) == ([2, 0], [0, 1, 2])


def test_a_bundle_keeps_no_more_popular_items_than_a_page_shows() -> None:
    items = [f"item-{n}" for n in range(POPULAR + 1)]
    catalogue = describe_recommender(recommender(), items, None, None).catalogue
    assert catalogue is not None
    assert (len(catalogue.ids), len(catalogue.popular)) == (POPULAR + 1, POPULAR)


@pytest.mark.parametrize(
    ("items", "popular", "message"),
    [
        (None, ["a"], "items: expected the catalogue, since popular items are given, got none"),
        (ITEMS, ["a", "z"], "popular: expected items of the catalogue, got 'z'"),
        ([], None, "catalogue.ids: expected at least one item, got none"),
        (["a", "b", "a"], None, "catalogue.ids: expected each item once, got 'a' twice"),
        (["a", ""], None, "catalogue.ids: expected strings of 1 to 256 bytes, got ''"),
    ],
)
def test_what_is_wrong_with_the_items_is_named(
    items: list[str] | None, popular: list[str] | None, message: str
) -> None:
    with pytest.raises(InvalidRequestError, match=f"^{re.escape(message)}$"):
        describe_recommender(recommender(), items, popular, None)


@pytest.mark.parametrize("graph", [doubler(("batch",)), doubler(("batch", "width")), echo()])
def test_an_input_that_no_default_fits_needs_a_recipe(graph: object) -> None:
    with pytest.raises(
        InvalidRequestError, match=r"^recipe\.\w+: expected a recipe, or an input of shape \[batch, n\]"
    ):
        describe_recommender(graph, ITEMS, None, None)  # type: ignore[arg-type]
