"""`nearline rollout`, `rollback`, `unpin`, `retire`, `retry`: what should serve where."""

import json
from typing import Annotated

import typer
from rich.console import Console

from protos.records import MILLION, ModelRecord
from publisher import rollouts
from publisher.signing import open_ledger
from serving.cli.instances import rollout_json, rollout_table
from serving.cli.options import Bus, DataDir, Json, ModelName, load_settings, parse_labels
from serving.cli.session import open_bus
from serving.errors import InvalidRequestError
from serving.subscriptions.snapshot import read_status

Scope = Annotated[
    list[str] | None, typer.Option("--scope", metavar="LABEL=VALUE", help="Only on nodes with this label; repeatable.")
]
Reason = Annotated[str, typer.Option(help="For the record.")]


def rollout(
    name: ModelName,
    version: Annotated[int | None, typer.Option(help="Pin this version, whatever is announced later.")] = None,
    share: Annotated[
        list[str] | None,
        typer.Option(metavar="VERSION=PERCENT", help="Give a version part of the entities (`3=10%`); repeatable."),
    ] = None,
    scope: Scope = None,
    reason: Reason = "",
    as_json: Json = False,
    bus: Bus = None,
    data_dir: DataDir = None,
) -> None:
    """Say what serves: a pinned version, or shares of the entities. What is left stays with what serves now."""
    if (version is None) == (not share):
        raise InvalidRequestError("rollout", "either --version or --share", "both" if share else "neither")
    weights = {version: MILLION} if version is not None else _weights(share or [])
    settings = load_settings(bus=bus, data_dir=data_dir)
    where = parse_labels(scope or [], "--scope")
    with open_bus(settings) as connected:
        record = rollouts.share(open_ledger(connected, settings), name, weights, where, reason)
    _show(name, record, as_json=as_json)


def rollback(
    name: ModelName,
    scope: Scope = None,
    reason: Reason = "",
    as_json: Json = False,
    bus: Bus = None,
    data_dir: DataDir = None,
) -> None:
    """Pin the newest lower version that has been READY.

    Without --scope, everywhere but where a line with a scope says otherwise: those lines stay as they are, and are
    shown. Roll each of them back with its --scope, or take it away with `nearline unpin NAME --scope LABEL=VALUE`.
    """
    settings = load_settings(bus=bus, data_dir=data_dir)
    where = parse_labels(scope or [], "--scope")
    with open_bus(settings) as connected:
        ready = read_status(connected, settings.topics.status.name).ready_digests(name)
        record = rollouts.rollback(open_ledger(connected, settings), name, ready, where, reason)
    _show(name, record, as_json=as_json)


def unpin(
    name: ModelName,
    scope: Scope = None,
    reason: Reason = "",
    as_json: Json = False,
    bus: Bus = None,
    data_dir: DataDir = None,
) -> None:
    """Take the rollout back, or only one scope's line: the newest version serves there again."""
    settings = load_settings(bus=bus, data_dir=data_dir)
    where = parse_labels(scope, "--scope") if scope else None
    with open_bus(settings) as connected:
        record = rollouts.unpin(open_ledger(connected, settings), name, where, reason)
    _show(name, record, as_json=as_json)


def retire(
    name: ModelName,
    version: Annotated[int, typer.Argument(help="The version that is never to be served again.")],
    reason: Reason = "",
    as_json: Json = False,
    bus: Bus = None,
    data_dir: DataDir = None,
) -> None:
    """Never serve a version again. There is no way back but to publish it as a new version."""
    settings = load_settings(bus=bus, data_dir=data_dir)
    with open_bus(settings) as connected:
        rollouts.retire(open_ledger(connected, settings), name, version, reason)
    if as_json:
        typer.echo(json.dumps({"model": name, "retired": version}))
    else:
        typer.echo(f"{name} version {version} is retired")


def retry(
    name: ModelName,
    version: Annotated[int | None, typer.Argument(help="Default: the newest.")] = None,
    as_json: Json = False,
    bus: Bus = None,
    data_dir: DataDir = None,
) -> None:
    """Have every failed, refused or quarantined instance of a version tried once more."""
    settings = load_settings(bus=bus, data_dir=data_dir)
    with open_bus(settings) as connected:
        said = rollouts.retry(open_ledger(connected, settings), name, version)
    if as_json:
        typer.echo(json.dumps({"model": name, "version": said.verdict.version}))
    else:
        typer.echo(f"{name} version {said.verdict.version} will be tried once more; see `nearline status {name}`")


def _weights(pairs: list[str]) -> dict[int, int]:
    weights: dict[int, int] = {}
    for pair in pairs:
        name, _, text = pair.partition("=")
        try:
            version, weight = int(name), round(float(text.removesuffix("%")) * MILLION / 100)
        except (ValueError, OverflowError):
            raise InvalidRequestError("--share", "VERSION=PERCENT, such as 3=10%", repr(pair)) from None
        if version in weights:
            raise InvalidRequestError("--share", "each version once", f"version {version} twice")
        weights[version] = weight
    return weights


def _show(name: str, record: ModelRecord, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(rollout_json(name, record)))
    elif record.lines:
        Console().print(rollout_table(name, record))
    else:
        typer.echo(f"{name}: rollout epoch {record.epoch}, the newest version serves everywhere")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (rollout, rollback, unpin, retire, retry):
        app.command()(command)
