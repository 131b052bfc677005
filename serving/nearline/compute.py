"""From the events of a batch to the changes of its shard: new states, and one prediction per entity and version."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack

import structlog

from protos.traffic import version_for
from serving.errors import ModelError, NotFoundError
from serving.models.answers import PREDICTIONS, prediction_key
from serving.models.loaded import LoadedModel
from serving.models.predict import States, answers, features, inputs, output_names
from serving.models.table import ActiveModel, ActiveTable
from serving.recipes.event import Event
from serving.recipes.history import KEPT, STATES, History, state_key
from serving.recipes.recipe import LastN
from serving.store.port import Change

log = structlog.get_logger()

ReadStates = Callable[[Sequence[bytes]], list[bytes | None]]
Failed = Callable[[LoadedModel, ModelError], None]

_ROWS = 1024
_FAILURES = 32
"""Failed runs that a step bears: enough to find a bad row or two, and no more for a model that always fails."""
"""Rows of one run: larger batches gain nothing, and hold more memory."""

_DEFAULT = {"item": LastN(field="item", n=KEPT)}
"""Kept even while no model is there, so that the first one finds histories."""


class Computer:
    """Folds events into states and runs the models that serve. Used by one thread."""

    def __init__(self, table: ActiveTable, failed: Failed) -> None:
        self._table = table
        self._failed = failed

    def changes(self, events: Mapping[bytes, Sequence[Event]], read: ReadStates) -> tuple[list[Change], int]:
        """Return what to write, and how many predictions are among it."""
        with ExitStack() as leases:
            recommenders = [found for name in self._table.current if (found := self._recommender(leases, name))]
            tracked = _tracked([loaded for _, versions in recommenders for loaded in versions.values()])
            states, changes = _fold(events, tracked, read)
            predictions = 0
            for active, versions in recommenders:
                made = self._predict(active, versions, states)
                predictions += len(made)
                changes += made
            return changes, predictions

    def _recommender(self, leases: ExitStack, name: str) -> tuple[ActiveModel, dict[int, LoadedModel]] | None:
        """Lease every serving version of a model; None where it is none that recommends, or not ready."""
        active = self._table.current[name]
        versions = {}
        for version, loaded in active.versions.items():
            try:
                features(loaded)
            except NotFoundError:
                continue
            if loaded.acquire():
                leases.callback(loaded.release)
                versions[version] = loaded
        return (active, versions) if versions else None

    def _predict(
        self, active: ActiveModel, versions: Mapping[int, LoadedModel], states: Mapping[bytes, States]
    ) -> list[Change]:
        made = []
        for version, loaded in versions.items():
            mine = [e for e in states if version_for(active.shares, active.name, e) == version]
            made += self._run(loaded, mine, states)
        return made

    def _run(self, loaded: LoadedModel, entities: Sequence[bytes], states: Mapping[bytes, States]) -> list[Change]:
        """Predict for these entities; where a run fails, halves are tried, so that only the bad ones go without."""
        made: list[Change] = []
        waiting = [entities[start : start + _ROWS] for start in range(0, len(entities), _ROWS)]
        failures = 0
        while waiting and failures < _FAILURES:
            part = waiting.pop()
            try:
                items, scores = loaded.session.run(inputs(loaded, [states[e] for e in part]), output_names(loaded))
                found = answers(loaded, items, scores, time.time_ns() // 1_000_000, rows=len(part))
            except ModelError as error:
                # The states are right without it: the model's answers are missing, and online may do better.
                failures += 1
                self._failed(loaded, error)
                log.error("nearline.run", model=loaded.model, version=loaded.version, rows=len(part), error=str(error))
                if len(part) > 1:
                    waiting += [part[: len(part) // 2], part[len(part) // 2 :]]
                continue
            made += [
                Change(PREDICTIONS, prediction_key(loaded, entity), answer.entry())
                for entity, answer in zip(part, found, strict=True)
            ]
        return made


def _tracked(loaded: Sequence[LoadedModel]) -> dict[str, LastN]:
    """Which histories to keep, by event field, each as long as the longest that a model wants."""
    tracked = dict(_DEFAULT)
    for model in loaded:
        for feature in features(model).values():
            if feature.n > (tracked[feature.field].n if feature.field in tracked else 0):
                tracked[feature.field] = feature
            else:
                tracked.setdefault(feature.field, feature)
    return tracked


def _fold(
    events: Mapping[bytes, Sequence[Event]], tracked: Mapping[str, LastN], read: ReadStates
) -> tuple[dict[bytes, States], list[Change]]:
    states: dict[bytes, dict[str, History]] = {entity: {} for entity in events}
    changes = []
    for name, feature in tracked.items():
        keys = [state_key(feature, entity) for entity in events]
        for entity, key, stored in zip(events, keys, read(keys), strict=True):
            history = History.decode(stored)
            if history.fold(events[entity], feature, max(KEPT, feature.n)):
                changes.append(Change(STATES, key, history.encode()))
            states[entity][name] = history
    return dict(states), changes
