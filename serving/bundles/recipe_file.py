"""A recipe as a file: how inputs come from events, and what near-line does with the answers.

Either a map with the keys `inputs` and `nearline`, or the map of inputs alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from serving.bundles.nearline import NearlineSettings, read_nearline
from serving.errors import InvalidRequestError
from serving.recipes.parse import check_recipe_map, parse_text
from serving.recipes.recipe import Recipe

INPUTS, NEARLINE = "inputs", "nearline"


@dataclass(frozen=True, slots=True)
class RecipeFile:
    """What it says; None where it says nothing, so that defaults hold."""

    recipe: Recipe | None = None
    nearline: NearlineSettings | None = None


def parse_recipe_file(text: str) -> RecipeFile:
    """Read YAML or JSON; InvalidRequestError names the field below `recipe` or `nearline`, expected and actual."""
    said = parse_text(text)
    if not isinstance(said, Mapping) or not _has_sections(said):
        return RecipeFile(check_recipe_map(said))
    nearline = read_nearline(said[NEARLINE]) if NEARLINE in said else None
    return RecipeFile(check_recipe_map(said[INPUTS]) if INPUTS in said else None, nearline)


def _has_sections(said: Mapping[str, Any]) -> bool:
    """Tell whether it has the two keys, which may also be the names of a model's inputs: then they hold features."""
    if not said or said.keys() - {INPUTS, NEARLINE}:
        if NEARLINE in said and INPUTS in said and not any(map(_is_feature, (said[INPUTS], said[NEARLINE]))):
            other = min(map(str, said.keys() - {INPUTS, NEARLINE}))
            raise InvalidRequestError("recipe", f"the keys {INPUTS} and {NEARLINE}", repr(other))
        return False
    return not any(map(_is_feature, said.values()))


def _is_feature(value: Any) -> bool:
    """A feature has an operation, or the length that its default operation needs; those are no maps."""
    if not isinstance(value, Mapping):
        return False
    return any(name in value and not isinstance(value[name], Mapping) for name in ("op", "n"))
