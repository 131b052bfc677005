"""Rollouts: the whole desired traffic of a model, changed one line at a time, in one record with the next epoch."""

from collections.abc import Callable, Mapping

from protos.ledger import World
from protos.nearline.v1 import ledger_pb2
from protos.records import MILLION, Announced, Line, ModelRecord, Share
from protos.traffic import line_for, released, shares_for
from publisher.ledger import Ledger, Said, known_model
from serving.errors import InvalidRequestError, UserError

Scope = Mapping[str, str]
Change = Callable[[ModelRecord], tuple[Line, ...]]


def pin(ledger: Ledger, model: str, version: int, scope: Scope, reason: str = "") -> ModelRecord:
    """Let one version serve where the scope matches, whatever is announced later."""
    return share(ledger, model, {version: MILLION}, scope, reason)


def share(ledger: Ledger, model: str, weights: Mapping[int, int], scope: Scope, reason: str = "") -> ModelRecord:
    """Give versions parts of a million of the entities; what is left stays with what serves there now."""
    total = sum(weights.values())
    if not weights or min(weights.values()) < 1 or total > MILLION:
        raise InvalidRequestError("shares", "more than 0 %, and 100 % at most together", f"{total / 1e4:g} %")

    def change(record: ModelRecord) -> tuple[Line, ...]:
        shares = [Share(version, weight) for version, weight in weights.items()]
        if total < MILLION:
            shares.append(Share(_base(record, model, scope, weights), MILLION - total))
        return _with_line(record, scope, tuple(shares))

    return _roll_out(ledger, model, change, reason)


def rollback(ledger: Ledger, model: str, ready_digests: set[str], scope: Scope, reason: str = "") -> ModelRecord:
    """Pin the newest version that is lower than what serves, may serve, and has been READY somewhere.

    One that is held and that no rollout has named was READY ahead of traffic only, and is passed over.
    """

    def change(record: ModelRecord) -> tuple[Line, ...]:
        serving = shares_for(record, scope)
        if not serving:
            raise UserError(f"rollback: expected a version of {model} that serves, got none")
        newest = max(share.version for share in serving)
        lower = [v for v in released(record) if v < newest]
        proven = [v for v in lower if record.versions[v].digest in ready_digests]
        if not proven:
            known = ", ".join(map(str, sorted(lower))) or "none"
            raise UserError(
                f"rollback: expected a version of {model} below {newest} that has been READY, got none "
                f"(announced: {known}); `nearline rollout {model} --version N` pins one anyway"
            )
        return _with_line(record, scope, (Share(max(proven), MILLION),))

    return _roll_out(ledger, model, change, reason)


def unpin(ledger: Ledger, model: str, scope: Scope | None, reason: str = "") -> ModelRecord:
    """Take a scope's line back (None = every line), so that the newest version serves there again."""

    def change(record: ModelRecord) -> tuple[Line, ...]:
        return () if scope is None else _others(record, scope)

    return _roll_out(ledger, model, change, reason)


def retire(ledger: Ledger, model: str, version: int, reason: str = "") -> Said:
    """Never serve a version again."""

    def make(world: World) -> ledger_pb2.Statement:
        _announced(known_model(world, model), model, version)
        return ledger_pb2.Statement(model=model, retirement=ledger_pb2.Retirement(version=version, reason=reason))

    return ledger.say(make)


def retry(ledger: Ledger, model: str, version: int | None) -> Said:
    """Have every failed, refused or quarantined instance of a version (default: the newest) tried once more."""

    def make(world: World) -> ledger_pb2.Statement:
        record = known_model(world, model)
        number = max(record.versions) if version is None else version
        _announced(record, model, number)
        retrial = ledger_pb2.Retrial(version=number, epoch=record.retrials.get(number, 0) + 1)
        return ledger_pb2.Statement(model=model, retrial=retrial)

    return ledger.say(make)


def _roll_out(ledger: Ledger, model: str, change: Change, reason: str) -> ModelRecord:
    def make(world: World) -> ledger_pb2.Statement:
        record = known_model(world, model)
        lines = change(record)
        for line in lines:
            for part in line.shares:
                _announced(record, model, part.version)
        return ledger_pb2.Statement(model=model, rollout=_message(record, lines, reason))

    return ledger.say(make).world.models[model]


def _message(record: ModelRecord, lines: tuple[Line, ...], reason: str) -> ledger_pb2.Rollout:
    return ledger_pb2.Rollout(
        epoch=record.epoch + 1,
        reason=reason,
        lines=[
            ledger_pb2.RolloutLine(
                scope=dict(line.scope),
                shares=[
                    ledger_pb2.Share(
                        version=part.version, digest=record.versions[part.version].digest, weight_ppm=part.weight_ppm
                    )
                    for part in line.shares
                ],
            )
            for line in lines
        ],
    )


def _with_line(record: ModelRecord, scope: Scope, shares: tuple[Share, ...]) -> tuple[Line, ...]:
    """The lines of now, with the scope's one replaced or added."""
    return (*_others(record, scope), Line(dict(scope), shares))


def _others(record: ModelRecord, scope: Scope) -> tuple[Line, ...]:
    """The other scopes' lines as they serve now: the ledger refuses one that still names a retired version."""
    lines = [line for line in record.lines if dict(line.scope) != dict(scope)]
    living = [line for line in lines if {share.version for share in line.shares} - record.retired]
    return tuple(Line(line.scope, shares_for(record, line.scope)) for line in living)


def _base(record: ModelRecord, model: str, scope: Scope, named: Mapping[int, int]) -> int:
    """What serves there now and is not named; else the newest other version that may serve."""
    line = line_for(record, scope)
    serving = [s.version for s in (line.shares if line else shares_for(record, scope))]
    candidates = [v for v in (*reversed(serving), *released(record)) if v not in named and v not in record.retired]
    if not candidates:
        raise UserError(
            f"shares: expected another version of {model} for the rest of the entities, got none; "
            "name versions for 100 %"
        )
    return candidates[0]


def announced_version(record: ModelRecord, model: str, version: int) -> Announced:
    """Return a version that may be rolled out; InvalidRequestError."""
    _announced(record, model, version)
    return record.versions[version]


def _announced(record: ModelRecord, model: str, version: int) -> None:
    if version not in record.versions:
        known = ", ".join(map(str, sorted(record.versions)))
        raise InvalidRequestError("version", f"one of {model}'s ({known})", version)
    if version in record.retired:
        raise InvalidRequestError("version", f"one of {model}'s that is not retired", f"{version}, which is")
