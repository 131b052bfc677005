"""Recipes as people write them, in YAML or JSON, and errors in words: field, expected, actual. Pure."""

import re
from collections.abc import Sequence
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from serving.errors import InvalidRequestError
from serving.recipes.recipe import OPS, Recipe

_OURS = re.compile(r"(?:(?P<field>[\w.]+): )?expected (?P<expected>.*), got (?P<actual>.*)", re.DOTALL)
_MEMBERS = ("int", "float", "str", "constrained-", "literal[", "tuple[")
"""How pydantic names the members of a union, which nobody wrote."""
_RECIPE = TypeAdapter(Recipe)


def parse_recipe(text: str) -> Recipe:
    """Read a recipe, a map from input to feature; InvalidRequestError names field, expected and actual."""
    return check_recipe_map(parse_text(text))


def parse_text(text: str) -> Any:
    """Read YAML or JSON; InvalidRequestError."""
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InvalidRequestError("recipe", "YAML or JSON", " ".join(str(error).split())[:200]) from None


def check_recipe_map(said: Any) -> Recipe:
    """Check a recipe that was read; InvalidRequestError names field, expected and actual."""
    try:
        return _RECIPE.validate_python(said)
    except ValidationError as error:
        raise explain(error, "recipe") from None
    except RecursionError:  # a YAML alias can hold itself
        raise InvalidRequestError("recipe", "a map of inputs", "one that holds itself") from None


def explain(error: ValidationError, root: str = "") -> InvalidRequestError:
    """Return the first thing that is wrong, with its place below `root`."""
    first = error.errors(include_url=False)[0]
    where = place((*first["loc"], "op") if first["type"] == "union_tag_invalid" else first["loc"], root)
    message = first["msg"].removeprefix("Value error, ")
    if ours := _OURS.fullmatch(message):
        return InvalidRequestError(".".join(filter(None, (where, ours["field"]))), ours["expected"], ours["actual"])
    return InvalidRequestError(where or "value", *_words(first, message))


def place(loc: Sequence[int | str], root: str = "") -> str:
    """Return a dotted path as the author wrote it, without the steps that only say which operation was meant."""
    path = [root, *loc] if root else list(loc)
    # recipe.<input>.<operation>.<field>: the third step is pydantic's own.
    if path[:1] == ["recipe"] and len(path) > 2 and path[2] in OPS:  # noqa: PLR2004 - its place
        del path[2]
    return ".".join(str(step) for at, step in enumerate(path) if at < 2 or not str(step).startswith(_MEMBERS))  # noqa: PLR2004


def _words(first: ErrorDetails, message: str) -> tuple[str, str]:
    shown = repr(first["input"])[:80]
    match first["type"]:
        case "missing":
            return "a value", "none"
        case "extra_forbidden":
            return "no such field", shown
        case "union_tag_invalid":
            return f"one of {', '.join(OPS)}", repr(first["input"].get("op"))[:80]
        case "union_tag_not_found":
            return "a map with op and its settings", shown
        case _:
            return message.removeprefix("Input should be ").removeprefix("a valid "), shown
