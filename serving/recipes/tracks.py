"""What has to be remembered of an entity's events: the tracks of recipes, each kept once however many want it. Pure."""

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from serving.recipes.features import Age, Count, Distinct, Last, LastN, Max, Mean, Sum
from serving.recipes.recipe import Feature, Recipe

KEPT = 100
"""Values that a history keeps at least, so that a model with a longer one finds it when it is deployed."""

_KINDS = {"rows": "hashes", "numbers": "numbers", "text": "texts"}


class Kind(StrEnum):
    """What a track holds; the values stand in documents for good."""

    HASHES = "hashes"
    NUMBERS = "numbers"
    TEXTS = "texts"
    COUNTS = "counts"
    SUMS = "sums"
    DISTINCT = "distinct"
    NEWEST = "newest"


class Key(NamedTuple):
    """Which track: of events of these types (none: every type), values of this field, in buckets of this width."""

    kind: Kind
    field: str = ""
    types: tuple[str, ...] = ()
    width_ms: int = 0


class Track(NamedTuple):
    """How much of it: `keep` values or buckets, `limit` different ones."""

    key: Key
    keep: int = 1
    limit: int = 0


ITEMS = Track(Key(Kind.HASHES, "item"), KEPT)
"""Kept even while no model wants it, so that the first one finds histories."""


def track_of(feature: Feature) -> Track | None:  # noqa: PLR0911 - a table
    """Return what the feature needs; None where no events matter."""
    match feature:
        case LastN():
            return Track(Key(Kind(_KINDS[feature.values]), feature.field, _types(feature.types)), lookback(feature))
        case Last():
            return Track(Key(Kind(_KINDS[feature.values]), feature.field, _types(feature.types)))
        case Count():
            return Track(Key(Kind.COUNTS, "", _types(feature.types), feature.width_ms), feature.buckets)
        case Sum() | Mean() | Max():
            return Track(Key(Kind.SUMS, feature.field, _types(feature.types), feature.width_ms), feature.buckets)
        case Distinct():
            key = Key(Kind.DISTINCT, feature.field, _types(feature.types), feature.width_ms)
            return Track(key, feature.buckets, feature.limit)
        case Age():
            return Track(Key(Kind.NEWEST, "", _types(feature.types)))
        case _:
            return None


def lookback(feature: LastN) -> int:
    """Return how many values are looked at: never more because another recipe keeps more."""
    return max(feature.n, KEPT)


def tracks_in(recipes: Iterable[Recipe]) -> list[Track]:
    """Return the tracks of all recipes, and ITEMS, merged and in order."""
    wanted = (track_of(feature) for recipe in recipes for feature in recipe.values())
    return merged([ITEMS, *(track for track in wanted if track)])


def merged(tracks: Iterable[Track]) -> list[Track]:
    """Return each track once, as long as the longest, in the order that documents have."""
    found: dict[Key, Track] = {}
    for track in tracks:
        known = found.get(track.key, track)
        found[track.key] = Track(track.key, max(known.keep, track.keep), max(known.limit, track.limit))
    return sorted(found.values())


def _types(types: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(types)))
