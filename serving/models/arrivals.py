"""Instances on their way to READY: each load runs in a thread of its own, and its news comes back as messages.

A load that ends behind a newer decision is discarded by its generation.
"""

import time

import structlog

from protos.nearline.v1 import status_pb2
from protos.records import Announced
from serving.errors import ModelError
from serving.models.departures import Departures
from serving.models.instance import Instance
from serving.models.lifecycle import WORKING, State
from serving.models.loaded import LoadedModel
from serving.models.loader import Loader
from serving.models.loading import Backoff, load_in_background
from serving.models.policy import Audiences
from serving.models.roster import Roster
from serving.models.trusting import Trusting

log = structlog.get_logger()


class Arrivals:
    """`unload_first`: what a version replaces is unloaded before it is loaded, where there is no memory for both."""

    def __init__(
        self,
        roster: Roster,
        loader: Loader,
        backoff: Backoff,
        audiences: Audiences,
        departures: Departures,
        trusting: Trusting,
        *,
        unload_first: bool,
    ) -> None:
        self._roster = roster
        self._loader = loader
        self._backoff = backoff
        self._audiences = audiences
        self._departures = departures
        self._trusting = trusting
        self._unload_first = unload_first
        self._generation = 0

    def load(self, name: str, announced: Announced) -> None:
        """Begin to load a version of a model."""
        self._generation += 1
        generation, epoch, put = self._generation, self._trusting.epoch, self._roster.put
        model = self._roster.models[name]
        instance = model.announced(name, announced)
        retrial = model.record.retrials.get(announced.version, 0)
        instance.attempts = instance.attempts + 1 if retrial == instance.retrial else 1
        instance.generation, instance.retrial, instance.retry_at = generation, retrial, None
        instance.alone = instance.distrusted = False
        self._roster.tell(instance)

        load_in_background(
            self._loader,
            name,
            announced,
            retrial,
            wanted=lambda: _awaited(instance, generation),
            entered=lambda state: put(lambda: self._progress(instance, generation, state)),
            ask_room=lambda short, answer: put(lambda: answer(self._make_room(instance, generation, short))),
            ready=lambda loaded: put(lambda: self._ready(instance, generation, loaded, epoch)),
            failed=lambda error: put(lambda: self._failed(instance, generation, error, epoch)),
        )

    def _progress(self, instance: Instance, generation: int, state: State) -> None:
        if _awaited(instance, generation):
            self._roster.enter(instance, state)

    def _make_room(self, instance: Instance, generation: int, short_bytes: int) -> bool:
        """Unload what it replaces, if that is wanted and enough. What is being unloaded in any case counts, too."""
        if not _awaited(instance, generation):
            return False
        short_bytes -= self._departures.leaving_bytes
        if short_bytes <= 0 or not self._unload_first:
            return short_bytes <= 0
        model, version = self._roster.models[instance.model], instance.announced.version
        others = model.making_room(instance, self._audiences(model.record), short_bytes)
        if not others:
            return False
        instance.alone, instance.room_given = True, instance.retrial
        instance.reason = f"waits until version {', '.join(map(str, others))} is unloaded: no memory for both"
        log.warning("model.unloaded_first", model=instance.model, version=version, unloading=others)
        self._roster.tell_progress(instance)
        self._roster.decide(instance.model)
        return True

    def _ready(self, instance: Instance, generation: int, loaded: LoadedModel, epoch: int) -> None:
        if not _awaited(instance, generation):
            return
        instance.loaded, instance.tried, instance.room_given = loaded, False, -1
        put = self._roster.put
        loaded.circuit.watch(lambda error: put(lambda: self._departures.broke(loaded, error)))
        # Its state changes before the swap, since deciding looks at it; it is published after the swap.
        instance.enter(State.READY)
        self._roster.decide(instance.model)
        if instance.state is State.READY:
            self._roster.tell(instance)
        self._trusting.check_since(instance, epoch)

    def _failed(self, instance: Instance, generation: int, error: ModelError, epoch: int) -> None:
        if not _awaited(instance, generation):
            return
        instance.tried = True
        if not error.rejected:
            instance.retry_at = time.monotonic() + self._backoff.after(instance.attempts)
        elif error.kind == status_pb2.SIGNATURE and epoch != self._trusting.epoch:
            instance.retry_at = time.monotonic()  # it was refused under other keys than those of now
        self._roster.enter(instance, State.REJECTED if error.rejected else State.FAILED, error=error)
        self._roster.decide(instance.model)


def _awaited(instance: Instance, generation: int) -> bool:
    """Tell whether no newer decision has made the load of that generation pointless."""
    return instance.generation == generation and instance.state in WORKING
