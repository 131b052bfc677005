"""What a manifest says of a model, as people write it in a file: everything of About, and a recipe if they like."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from serving.bundles.about import About, read_about
from serving.bundles.nearline import NearlineSettings, read_nearline
from serving.bundles.recipe_file import INPUTS, NEARLINE
from serving.errors import InvalidRequestError
from serving.recipes.parse import check_recipe_map, parse_text
from serving.recipes.recipe import Recipe

_ROOT = "manifest"
_HOLD = "hold"
_OTHERS = (INPUTS, NEARLINE, _HOLD)


@dataclass(frozen=True, slots=True)
class ManifestFile:
    """What it says; `recipe`, `nearline` and `hold` are None where it says nothing of them, so that defaults hold.

    hold: Announce the version without serving it. That is no part of the bundle: the announcement says it.
    """

    about: About = field(default_factory=About)
    recipe: Recipe | None = None
    nearline: NearlineSettings | None = None
    hold: bool | None = None


def parse_manifest_file(text: str) -> ManifestFile:
    """Read YAML or JSON; InvalidRequestError names the field, expected and actual."""
    said = parse_text(text)
    if not isinstance(said, Mapping):
        raise InvalidRequestError(_ROOT, f"a map of {', '.join((*About.model_fields, *_OTHERS))}", repr(said)[:80])
    about = read_about({str(name): value for name, value in said.items() if name not in _OTHERS}, _ROOT)
    hold = said.get(_HOLD)
    if hold is not None and not isinstance(hold, bool):
        raise InvalidRequestError(f"{_ROOT}.{_HOLD}", "true or false", repr(hold)[:80])
    return ManifestFile(
        about,
        check_recipe_map(said[INPUTS]) if INPUTS in said else None,
        read_nearline(said[NEARLINE]) if NEARLINE in said else None,
        hold,
    )
