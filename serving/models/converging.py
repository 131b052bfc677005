"""Doing what policy.py decides for a model: what serves is swapped, what is wanted is loaded, what is not goes."""

import time
from collections.abc import Callable, Mapping, Sequence

import structlog

from protos.records import BulkLoad, Share
from serving.models.arrivals import Arrivals
from serving.models.bulk import Imported, seen_load
from serving.models.departures import Departures
from serving.models.instance import Instance
from serving.models.instances import Instances
from serving.models.lifecycle import State
from serving.models.loaded import LoadedModel
from serving.models.policy import Audiences, Serving, decide, loaded_ahead
from serving.models.roster import Roster
from serving.models.table import ActiveModel, ActiveTable, LedgerSide

log = structlog.get_logger()

Filled = Callable[[tuple[Share, ...], Mapping[int, LoadedModel]], bool]
"""Tells whether versions, all of these loaded ones, may take over `Recommend`."""


class Converging:
    """Brings a model, each time that it is told to, closer to what the ledger says."""

    def __init__(
        self,
        roster: Roster,
        table: ActiveTable,
        audiences: Audiences,
        filled: Filled,
        imported: Imported,
        arrivals: Arrivals,
        departures: Departures,
    ) -> None:
        self._roster = roster
        self._table = table
        self._audiences = audiences
        self._filled = filled
        self._imported = imported
        self._arrivals = arrivals
        self._departures = departures

    def decide(self, name: str) -> None:
        """Decide for a model by what is known of it now, and do it."""
        model = self._roster.models[name]
        now = time.monotonic()
        seen = model.seen(now)
        active = self._table.current.get(name)
        audiences = self._audiences(model.record)
        ready = model.loaded()
        plan = decide(model.record, audiences, seen, model.serving, lambda shares: self._filled(shares, ready))
        for version, why in plan.give_up.items():
            self._roster.enter(model.by_version[version], State.SUPERSEDED, reason=why)
        for version, instance in model.by_version.items():
            if instance.retry_at is not None and version not in plan.load and instance.retry_at <= now:
                instance.retry_at = None  # not wanted any more
        for version in plan.unload:
            self._roster.enter(model.by_version[version], State.DRAINING, reason=model.why_unloaded(version, seen))
        side = LedgerSide(model.record.blocked, model.record.loads, model.record.shown)
        bulk = seen_load(
            side.loads, side.shown, active.bulk if active else None, lambda load: self._imported(name, load)
        )
        if active is None or plan.serving != model.serving or (side, bulk) != (active.ledger, active.bulk):
            model.serving = plan.serving
            self._swap(name, model, [plan.serving[who] for who in audiences], side, bulk)
        for version in plan.unload:
            self._departures.drain(model.by_version[version])
        for version in plan.load:
            self._arrivals.load(name, model.record.versions[version])
        self._tell_held(model)

    def supersede_unwanted(self, name: str, version: int) -> None:
        """Say of a version that was announced, and that deciding has passed over, that it is not even loaded."""
        model = self._roster.models[name]
        if version not in model.by_version:
            instance = model.by_version[version] = Instance(name, model.record.versions[version])
            why = model.why_unwanted(version, self._audiences(model.record))
            self._roster.enter(instance, State.SUPERSEDED, reason=why)

    def _tell_held(self, model: Instances) -> None:
        """Say of what was loaded ahead that it serves now, or of what is READY that it is loaded ahead."""
        ahead = loaded_ahead(model.record, self._audiences(model.record))
        for version, instance in model.by_version.items():
            if instance.held != (version == ahead):
                instance.held = version == ahead
                if instance.state is State.READY and instance.announced.held:
                    self._roster.tell_progress(instance)

    def _swap(
        self, name: str, model: Instances, serving: Sequence[Serving], side: LedgerSide, bulk: BulkLoad | None
    ) -> None:
        own, *others = serving
        elsewhere = tuple(shares for other in others for shares in (other.infer, other.recommend) if shares)
        named = {share.version for shares in (own.infer, own.recommend, *elsewhere) for share in shares}
        versions = {v: loaded for v in sorted(named) if (loaded := model.by_version[v].loaded)}
        self._table.swap(ActiveModel(name, own.infer, own.recommend, versions, elsewhere, side, bulk))
        said = {"infer": _parts(own.infer), "recommend": _parts(own.recommend), "blocked": len(side.blocked)}
        log.info("model.swap", model=name, **said, load=bulk.number if bulk else 0)


def _parts(shares: tuple[Share, ...]) -> dict[int, float]:
    return {share.version: share.weight_ppm / 1e6 for share in shares}
