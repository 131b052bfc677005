"""Deciding: from what the ledger says and what the instances are, what to do next. Pure; deployer.py does it.

The rules, for one model on one worker:
- converge to what the rollout (or the newest version) asks for, skipping what was announced in between;
- what serves goes on serving until everything wanted is READY, or the part of it that is not has ended badly;
- `Recommend` stays with what answered it until the predictions of what takes over are there, but goes back at once;
- where nothing serves and the wanted version cannot be loaded, an older one is tried: some version is better than none;
- only a retirement takes away what serves without a replacement;
- the newest version, while it is held or rolled out to other nodes only, is loaded ahead and kept, without any traffic;
- a version that failed while it ran serves on only until an older one can, and is then unloaded;
- a version that nobody who is trusted has announced or signed (any more) serves no longer, whatever else there is;
- where a version is loaded `alone`, what it replaces is unloaded first: nothing serves meanwhile. Whoever asks for that
  (room.py) has found that both do not fit.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from protos.records import MILLION, ModelRecord, Share
from protos.traffic import fallbacks, prepared, shares_for
from serving.models.lifecycle import WORKING, State

_BAD = frozenset({State.FAILED, State.REJECTED})

VOID = "no key that is trusted now has signed it"


@dataclass(frozen=True, slots=True)
class Seen:
    """A snapshot of one instance. `again`: a failed one whose retry is due, or that was told to be tried again.

    `tried`: its last load that ended has failed, even if it is being loaded once more. `broken`: it is READY, but has
    failed again and again while it ran. `alone`: it is being loaded, once what it replaces is unloaded. `void`: no
    statement that counts is about it; there may be one about another bundle of its number.
    """

    state: State
    again: bool = False
    tried: bool = False
    broken: bool = False
    alone: bool = False
    void: bool = False


@dataclass(frozen=True, slots=True)
class Serving:
    """What serves: the shares of `ModelInfer`, and those of `Recommend`."""

    infer: tuple[Share, ...] = ()
    recommend: tuple[Share, ...] = ()

    @property
    def versions(self) -> frozenset[int]:
        """All that get any traffic."""
        return frozenset(share.version for share in (*self.infer, *self.recommend))


Audience = frozenset[tuple[str, str]]
"""Labels of nodes whose traffic is decided on."""

Audiences = Callable[[ModelRecord], Sequence[Audience]]
"""Whose traffic a worker is for; the first one is what the active table serves."""

Filled = Callable[[tuple[Share, ...]], bool]
"""Tells whether the versions of these shares may take over `Recommend`."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do: versions to load, what to serve, versions to give up (with the reason) and to unload."""

    load: tuple[int, ...]
    serving: Mapping[Audience, Serving]
    give_up: Mapping[int, str]
    unload: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Part:
    """The plan for one audience."""

    load: tuple[int, ...]
    serving: Serving
    keep: frozenset[int]


def audience(labels: Mapping[str, str]) -> Audience:
    """Of one node."""
    return frozenset(labels.items())


def every_audience(record: ModelRecord) -> list[Audience]:
    """All that a rollout tells apart: for near-line workers whose store is shared by nodes with any labels."""
    return list(dict.fromkeys([Audience(), *(audience(line.scope) for line in record.lines)]))


def decide(
    record: ModelRecord,
    audiences: Sequence[Audience],
    seen: Mapping[int, Seen],
    now: Mapping[Audience, Serving],
    filled: Filled,
) -> Plan:
    """Plan for one model; `now` is what serves, by audience."""
    alone = any(instance.alone and instance.state in WORKING for instance in seen.values())
    parts = {
        who: _alone(record, who, seen) if alone else _decide(record, who, seen, now.get(who, Serving()), filled)
        for who in audiences
    }
    ahead = loaded_ahead(record, audiences)
    serving = frozenset[int]().union(*(part.serving.versions for part in parts.values()))
    keep = frozenset({ahead} if ahead else ()).union(*(part.keep for part in parts.values()))
    loadable = (ahead,) if ahead and _loadable(seen.get(ahead)) else ()
    why = superseded_reason(record, audiences)
    return Plan(
        load=tuple(dict.fromkeys((*(version for part in parts.values() for version in part.load), *loadable))),
        serving={who: part.serving for who, part in parts.items()},
        give_up={
            v: VOID if instance.void else why
            for v, instance in seen.items()
            if (v not in keep or instance.void) and instance.state in WORKING
        },
        unload=tuple(
            v
            for v, instance in seen.items()
            if instance.state is State.READY
            and (v not in keep or instance.void or (instance.broken and v not in serving))
        ),
    )


def loaded_ahead(record: ModelRecord, audiences: Sequence[Audience]) -> int | None:
    """The version that is kept warm here, although none of these audiences is to get it yet."""
    ahead = prepared(record)
    wanted = {share.version for who in audiences for share in shares_for(record, dict(who))}
    return None if ahead in wanted else ahead


def superseded_reason(record: ModelRecord, audiences: Sequence[Audience]) -> str:
    """Say why a version is not wanted."""
    wanted = dict.fromkeys(s.version for who in audiences for s in shares_for(record, dict(who)))
    names = ", ".join(map(str, wanted))
    if not wanted:
        return "nothing of this model is to be served here"
    return f"rollout epoch {record.epoch} names {names}" if record.lines else f"version {names} is newer"


def _decide(record: ModelRecord, who: Audience, seen: Mapping[int, Seen], now: Serving, filled: Filled) -> _Part:
    wanted = shares_for(record, dict(who))
    serve = _serve(record, wanted, seen, now.infer)
    recommend = _recommend(record, seen, now.recommend, serve, filled)
    load = [share.version for share in wanted if _loadable(seen.get(share.version))]
    limps = all(not _well(seen, share.version) for share in serve)
    stand_in = _stand_in(record, wanted, seen) if limps else None
    if stand_in and _loadable(seen.get(stand_in)):
        load.append(stand_in)
    keep = {share.version for share in (*wanted, *serve, *recommend)} | ({stand_in} if stand_in else set())
    return _Part(tuple(load), Serving(serve, recommend), frozenset(keep))


def _alone(record: ModelRecord, who: Audience, seen: Mapping[int, Seen]) -> _Part:
    """Nothing is kept but what is asked for."""
    wanted = shares_for(record, dict(who))
    load = tuple(share.version for share in wanted if _loadable(seen.get(share.version)))
    ready = tuple(share for share in wanted if _well(seen, share.version))
    serve = _rescaled(ready) if ready else ()
    return _Part(load, Serving(serve, serve), frozenset(share.version for share in wanted))


def _serve(
    record: ModelRecord, wanted: tuple[Share, ...], seen: Mapping[int, Seen], serving: tuple[Share, ...]
) -> tuple[Share, ...]:
    ready = tuple(share for share in wanted if _well(seen, share.version))
    if len(ready) == len(wanted) and wanted:
        return wanted
    if ready and all(share in ready or _has_ended(seen, share.version) for share in wanted):
        return _rescaled(ready)
    going_on = tuple(s for s in serving if s.version not in record.retired and _stands(seen, s.version))
    if well := tuple(share for share in going_on if _well(seen, share.version)):
        return _rescaled(well)
    if ready:
        return _rescaled(ready)
    if wanted:
        for version in fallbacks(record, wanted[-1].version):
            if _well(seen, version):
                return (Share(version, MILLION),)
    return _rescaled(going_on) if going_on else ()


def _recommend(
    record: ModelRecord,
    seen: Mapping[int, Seen],
    recommending: tuple[Share, ...],
    serve: tuple[Share, ...],
    filled: Filled,
) -> tuple[Share, ...]:
    if recommending == serve or not recommending or not serve or _goes_back(serve, recommending) or filled(serve):
        return serve
    able = tuple(s for s in recommending if s.version not in record.retired and _well(seen, s.version))
    return _rescaled(able) if able else serve


def _goes_back(serve: tuple[Share, ...], recommending: tuple[Share, ...]) -> bool:
    """Tell whether an older version is to take over: whoever asks for that has had enough of the newer one."""
    return max(share.version for share in serve) < max(share.version for share in recommending)


def _stand_in(record: ModelRecord, wanted: tuple[Share, ...], seen: Mapping[int, Seen]) -> int | None:
    """The newest older version not known to be bad, once every wanted one is, and while it is only being retried."""
    if not wanted or not all(_is_bad(seen.get(share.version)) for share in wanted):
        return None
    older = fallbacks(record, wanted[-1].version)
    return next((v for v in older if not _has_ended(seen, v) or seen[v].again), None)


def _is_bad(instance: Seen | None) -> bool:
    if instance is None:
        return False
    return instance.broken or (not instance.void and (instance.state in _BAD or instance.tried))


def _has_ended(seen: Mapping[int, Seen], version: int) -> bool:
    """Badly. What became of another bundle says nothing."""
    instance = seen.get(version)
    return instance is not None and (instance.broken or (not instance.void and instance.state in _BAD))


def _stands(seen: Mapping[int, Seen], version: int) -> bool:
    """READY, and may serve."""
    return version in seen and seen[version].state is State.READY and not seen[version].void


def _well(seen: Mapping[int, Seen], version: int) -> bool:
    """READY, and nothing is known against it."""
    return _stands(seen, version) and not seen[version].broken


def _loadable(instance: Seen | None) -> bool:
    if instance is None or instance.again or instance.state in {State.UNLOADED, State.SUPERSEDED}:
        return True
    return instance.void and instance.state in WORKING | _BAD


def _rescaled(shares: tuple[Share, ...]) -> tuple[Share, ...]:
    """The same proportions, summing to a million; the last one takes what rounding leaves."""
    total = sum(share.weight_ppm for share in shares) or 1
    scaled = [Share(share.version, share.weight_ppm * MILLION // total) for share in shares]
    left = MILLION - sum(share.weight_ppm for share in scaled[:-1])
    return (*scaled[:-1], Share(scaled[-1].version, left))
