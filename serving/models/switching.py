"""When a new version takes over `Recommend`: a pure function of progress that is recorded in the store.

A switch to a version without predictions would turn every hit into a computation. All workers of a store read the same
record, so they switch together.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from protos.records import Share
from protos.traffic import ranges
from serving.bundles.nearline import NearlineSettings
from serving.models.loaded import LoadedModel


@dataclass(frozen=True, slots=True)
class Fill:
    """How far the predictions of a version are, for the entities that it is to serve, over all shards.

    `known`: every shard has found out who its active entities are. `left`: those still without a prediction.
    """

    known: bool
    total: int
    left: int
    began_ms: int

    @property
    def percent(self) -> float:
        """Share of the active entities that have a prediction."""
        return 100.0 * max(0, self.total - self.left) / self.total if self.total else 100.0


def may_switch(settings: NearlineSettings, fill: Fill | None, asked_ms: int, now_ms: int) -> bool:
    """Tell whether a READY version may answer `Recommend` in the place of another.

    `asked_ms`: since when it is to; from then on is waited where nobody has begun to fill.
    """
    if settings.switch == "on-load":
        return True
    if fill is not None and fill.known and fill.percent >= settings.switch_percent:
        return True
    return now_ms - (fill.began_ms if fill is not None else asked_ms) >= settings.switch_wait * 1000


Claim = tuple[int, int]
"""Buckets [first, last) out of a million (protos/traffic.py): whose entities a version is to serve."""


class Fills(Protocol):
    """What the store's record says, as it was read last. Any thread."""

    def of(self, loaded: LoadedModel, claim: Claim) -> Fill | None:
        """How far a version is; None where nobody has begun."""
        ...

    def untouched(self, loaded: LoadedModel) -> bool:
        """Tell whether it was looked, and no near-line worker has ever computed the version."""
        ...


class _Asked(NamedTuple):
    shares: tuple[Share, ...]
    since_ms: int
    last_ms: int


_PAUSE_MS = 10_000
"""Who waits asks several times a second: after such a pause it is another wait."""


class Switch:
    """Judges for one worker."""

    def __init__(self, fills: Fills) -> None:
        self._fills = fills
        self._asked: dict[str, _Asked] = {}

    def filled(self, shares: tuple[Share, ...], ready: Mapping[int, LoadedModel]) -> bool:
        """Tell whether every version of these shares may answer `Recommend`; those that recommend nothing may."""
        recommenders = [v for v in ready.values() if v.bundle.manifest.recommendation is not None]
        if all(self._fills.untouched(loaded) for loaded in recommenders):
            return True  # nothing is computed near-line here, not even what answers now: there are no hits to lose
        now_ms = time.time_ns() // 1_000_000
        asked_ms = self._asked_at(recommenders, shares, now_ms)
        for version, claim in ranges(shares).items():
            loaded = ready[version]
            manifest = loaded.bundle.manifest
            if manifest.recommendation is None:
                continue
            fill = self._fills.of(loaded, claim)
            if not may_switch(manifest.nearline, fill, asked_ms, now_ms):
                return False
        return True

    def _asked_at(self, loaded: Sequence[LoadedModel], shares: tuple[Share, ...], now_ms: int) -> int:
        """Since when a model's switch to these shares is asked for, again and again."""
        model = loaded[0].model if loaded else ""
        before = self._asked.get(model)
        going_on = before is not None and before.shares == shares and now_ms - before.last_ms < _PAUSE_MS
        since_ms = before.since_ms if before is not None and going_on else now_ms
        self._asked[model] = _Asked(shares, since_ms, now_ms)
        return since_ms
