"""Entities' states, folded from events."""

from serving.recipes.event import Event, id_hash
from serving.recipes.fold import fold
from serving.recipes.recipe import LastN, Recipe
from serving.recipes.state import tracks_of

ITEMS_ONLY: Recipe = {"history": LastN(n=1)}


def document(*items: str, start: int = 0, recipe: Recipe | None = None) -> bytes:
    """The state of an entity that did something with these items, at `start`, `start` + 1, …"""
    events = [Event(b"e", id_hash(at), "", at, {"item": item}) for at, item in enumerate(items, start)]
    return fold(None, events, tracks_of([recipe or ITEMS_ONLY]), 1 << 40).document
