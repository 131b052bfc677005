"""Which versions near-line computes just now, for which entities, and in which order."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from protos.records import MILLION
from protos.traffic import bucket_of
from serving.models.loaded import LoadedModel
from serving.models.places import DUE, PREDICTIONS, key_of
from serving.models.predictor import Predictor
from serving.models.table import ActiveTable
from serving.nearline.fill_record import Claims
from serving.recipes.state import Tracks, tracks_of


@dataclass(frozen=True, slots=True)
class LiveVersion:
    """A recommender that carries traffic, or is being filled to do so. `claims`: ranges of buckets."""

    key: bytes
    loaded: LoadedModel
    predictor: Predictor
    claims: Claims

    @property
    def space(self) -> bytes:
        """Where its predictions are."""
        return PREDICTIONS + self.key

    @property
    def due(self) -> bytes:
        """The ranking of what is due."""
        return DUE + self.key

    @property
    def weight(self) -> float:
        """How much of an ordinary share of time it gets: twice with priority 0, a fifth with 9."""
        return (10 - self.predictor.settings.priority) / 5

    @property
    def whole(self) -> bool:
        """Whether every entity gets it."""
        return (0, MILLION) in self.claims

    def wants(self, entity: bytes) -> bool:
        """Tell whether the entity gets it."""
        if self.whole:
            return True
        bucket = bucket_of(self.loaded.model, entity)
        return any(first <= bucket < last for first, last in self.claims)


@dataclass(frozen=True, slots=True)
class Live:
    """All of them, those of the smallest priority first, and what their recipes need to remember."""

    versions: tuple[LiveVersion, ...]
    tracks: Tracks


class LiveVersions:
    """Looks into the active table, and looks anew only when it was swapped. One thread."""

    def __init__(self, table: ActiveTable) -> None:
        self._table = table
        self._seen: object = None
        self._live = Live((), tracks_of(()))

    @contextmanager
    def lease(self) -> Iterator[Live]:
        """Hold every version; one that is just going away is left out."""
        with ExitStack() as leases:
            live = self._current()
            held = []
            for version in live.versions:
                if version.loaded.acquire():
                    leases.callback(version.loaded.release)
                    held.append(version)
            yield live if len(held) == len(live.versions) else Live(tuple(held), live.tracks)

    def _current(self) -> Live:
        current = self._table.current
        if current is self._seen:
            return self._live
        found = []
        for active in current.values():
            for number, claims in active.claims().items():
                loaded = active.versions.get(number)
                if loaded is not None and loaded.predictor is not None:
                    found.append(LiveVersion(key_of(loaded), loaded, loaded.predictor, tuple(claims)))
        found.sort(key=lambda v: (v.predictor.settings.priority, v.loaded.model, v.loaded.version))
        self._live = Live(tuple(found), tracks_of([version.predictor.recipe for version in found]))
        self._seen = current
        return self._live
