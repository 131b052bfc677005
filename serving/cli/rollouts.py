"""`nearline rollback`, `unpin`, `retire`, `retry`: the ways back."""

import json
from typing import Annotated

import typer

from publisher import rollouts
from publisher.signing import open_ledger
from serving.bus.read_status import read_status
from serving.cli.options import Bus, DataDir, Json, ModelName, load_settings, parse_labels
from serving.cli.session import open_bus
from serving.cli.traffic import Reason, Scope, show_rollout


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
    show_rollout(name, record, as_json=as_json)


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
    show_rollout(name, record, as_json=as_json)


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


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (rollback, unpin, retire, retry):
        app.command()(command)
