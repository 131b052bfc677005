"""The invariant of near-line computation, checked over a whole store.

Whatever is stored of a version is what the version says of the entity's state now, or is marked as due, or is absent.
"""

from collections.abc import Iterable

from serving.errors import ModelError
from serving.models.answers import computed_at, message_of
from serving.models.loaded import LoadedModel
from serving.models.places import DUE, PREDICTIONS, STATES, key_of
from serving.recipes.state import read_document
from tests.builders.nearline import SHARDS, Rig


def says(loaded: LoadedModel, document: bytes, computed_at_ms: int) -> bytes | None:
    """What a version says of a state as of its newest event; None where it has no answer."""
    predictor = loaded.predictor
    assert predictor is not None
    instant = read_document(document).newest_ms + 1
    try:
        return predictor.predict([document], [instant], computed_at_ms, predictor.settings.stored)[0]
    except ModelError:
        return None


def check(rig: Rig, models: Iterable[LoadedModel]) -> None:
    """AssertionError where the store says something else."""
    known = {key_of(loaded): loaded for loaded in models}
    for shard in range(SHARDS):
        states = dict(rig.looking.scan(shard, STATES))
        for space in rig.looking.spaces(shard):
            if space[:1] != PREDICTIONS:
                continue
            loaded = known[space[1:]]
            for entity, stored in rig.looking.scan(shard, space):
                if rig.looking.ranks(shard, DUE + space[1:], [entity]) != [None]:
                    continue
                assert entity in states, f"{entity!r} has a prediction and no state"
                said = says(loaded, states[entity], computed_at(stored))
                assert message_of(stored) == said, f"{entity!r} by version {loaded.version}"


def check_drained(rig: Rig, live: Iterable[LoadedModel]) -> None:
    """After all is computed: of each live version every entity has what it says, and nobody else anything."""
    versions = {key_of(loaded): loaded for loaded in live}
    with rig.made.engine.live.lease() as now:
        current = now.versions
    assert {version.key for version in current} == set(versions)
    for shard in range(SHARDS):
        for version in current:
            stored = dict(rig.looking.scan(shard, version.space))
            for entity, document in rig.looking.scan(shard, STATES):
                if version.wants(entity):
                    at = computed_at(stored[entity]) if entity in stored else 0
                    said = says(versions[version.key], document, at)
                    found = message_of(stored[entity]) if entity in stored else None
                    assert found == said, f"{entity!r} by version {versions[version.key].version}"
