"""A recipe as people write it, with near-line settings or without."""

import pytest

from serving.bundles.nearline import NearlineSettings, read_nearline
from serving.bundles.recipe_file import RecipeFile, parse_recipe_file
from serving.errors import InvalidRequestError
from serving.recipes.features import Count, LastN


def refusal(text: str) -> str:
    with pytest.raises(InvalidRequestError) as caught:
        parse_recipe_file(text)
    return str(caught.value)


def test_inputs_and_nearline_settings_stand_in_one_file() -> None:
    found = parse_recipe_file(
        "inputs: {history: {n: 4}, often: {op: count, window: 7d}}\nnearline: {ttl: 1d, priority: 2}"
    )
    assert found.recipe == {"history": LastN(n=4), "often": Count(window="7d")}
    assert found.nearline == NearlineSettings(ttl=86_400, priority=2)


def test_each_of_the_two_may_be_left_out() -> None:
    assert parse_recipe_file("inputs: {history: {n: 4}}") == RecipeFile({"history": LastN(n=4)})
    assert parse_recipe_file("nearline: {switch: on-load}") == RecipeFile(None, NearlineSettings(switch="on-load"))


def test_the_map_of_inputs_alone_is_a_recipe() -> None:
    assert parse_recipe_file('{"history": {"op": "last_n", "n": 4}}') == RecipeFile({"history": LastN(n=4)})


@pytest.mark.parametrize("names", [("inputs",), ("nearline",), ("inputs", "nearline"), ("inputs", "other")])
def test_a_models_inputs_may_have_the_names_of_the_keys(names: tuple[str, ...]) -> None:
    found = parse_recipe_file("\n".join(f"{name}: {{n: 4}}" for name in names))
    assert found == RecipeFile(dict.fromkeys(names, LastN(n=4)))


def test_an_input_of_the_new_form_may_be_named_like_a_features_field() -> None:
    assert parse_recipe_file("inputs: {n: {n: 4}, op: {n: 2}}").recipe == {"n": LastN(n=4), "op": LastN(n=2)}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("inputs: {a: {op: count, window: 9x}}", "recipe.a.window: expected a span of 1m to 90d"),
        ("inputs: {a: {n: 1}}\nnearline: {ttl: soon}", "nearline.ttl: expected a length of time such as"),
        ("inputs: {a: {n: 1}}\nnearline: {tll: 1d}", "nearline.tll: expected no such field, got '1d'"),
        ("inputs: {a: {n: 1}}\nnearline: {}\nother: 1", "recipe: expected the keys inputs and nearline, got 'other'"),
        ("nearline: 5", "nearline: expected "),
        ("inputs: 5", "recipe: expected "),
        ("5", "recipe: expected "),
        ("", "recipe: expected "),
    ],
)
def test_what_is_wrong_is_named_with_its_place(text: str, words: str) -> None:
    assert refusal(text).startswith(words)


def test_settings_in_python_may_be_a_map() -> None:
    assert read_nearline({"ttl": "6h"}) == NearlineSettings(ttl=21_600)
    assert read_nearline(None) == NearlineSettings()
    with pytest.raises(InvalidRequestError, match=r"nearline\.priority: expected .*9, got 10"):
        read_nearline({"priority": 10})
