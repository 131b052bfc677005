"""`nearline block`, `blocked`: items that must not be shown."""

import json
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from protos.records import ModelRecord
from publisher import blocking
from publisher.known_items import unknown_items
from publisher.signing import open_ledger
from serving.artifacts.port import ArtifactStore
from serving.artifacts.store import FsspecArtifacts
from serving.cli.instances import clock
from serving.cli.options import Bus, DataDir, Json, ModelName, load_settings
from serving.cli.session import open_bus
from serving.cli.times import parse_time
from serving.errors import InvalidRequestError, ModelError, UnavailableError, UserError

_SHOWN = 10


def block(
    name: ModelName,
    items: Annotated[list[str], typer.Argument(metavar="ITEM…", help="Item ids; `-` reads them from standard input.")],
    until: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="`2026-12-24T18:00` (UTC), or `36h` from now. Default: for ever."),
    ] = None,
    lift: Annotated[bool, typer.Option("--lift", help="Let them be seen again.")] = False,
    reason: Annotated[str, typer.Option(help="For the record.")] = "",
    artifacts: Annotated[str | None, typer.Option(help="fsspec URL of the artifact store.")] = None,
    as_json: Json = False,
    bus: Bus = None,
    data_dir: DataDir = None,
) -> None:
    """Hide items in all answers of a model, on all nodes within a second, wherever an answer comes from."""
    if lift and until is not None:
        raise InvalidRequestError("block", "either --until or --lift", "both")
    if items == ["-"]:
        items = [line for line in sys.stdin.read().splitlines() if line]
    until_ms = 0 if until is None else parse_time(until, "--until")
    settings = load_settings(bus=bus, data_dir=data_dir, artifacts=artifacts)
    with open_bus(settings) as connected:
        ledger = open_ledger(connected, settings)
        if lift:
            record = blocking.lift(ledger, name, items, reason=reason)
        else:
            record = blocking.block(ledger, name, items, until_ms=until_ms, reason=reason)
    count = len(record.blocked)
    # After it was said: what must be hidden does not wait for a look into the artifact store.
    unknown = [] if lift else _unknown(FsspecArtifacts(settings.artifacts_url), record, items)
    if as_json:
        said = {"model": name, "items": items, "lifted": lift, "until_ms": until_ms, "blocked": count}
        typer.echo(json.dumps({**said, "unknown": unknown}))
    else:
        if unknown:
            some = ", ".join(map(repr, unknown[:_SHOWN])) + (", …" if len(unknown) > _SHOWN else "")
            typer.echo(f"warning: in no catalogue of {name}, and blocked all the same: {some}", err=True)
        elif unknown is None:
            typer.echo(f"warning: whether a catalogue of {name} has them could not be found out", err=True)
        done = "let be seen again" if lift else "blocked"
        typer.echo(f"{name}: {len(items)} {done}, {count} blocked in all; see `nearline blocked {name}`")


def _unknown(artifacts: ArtifactStore, record: ModelRecord, items: list[str]) -> list[str] | None:
    """Items that no catalogue has; None when that cannot be told."""
    try:
        return list(unknown_items(artifacts, record, items))
    except (UserError, UnavailableError, ModelError, OSError):
        return None


def blocked(name: ModelName, as_json: Json = False, bus: Bus = None, data_dir: DataDir = None) -> None:
    """List the items of a model that are hidden now."""
    settings = load_settings(bus=bus, data_dir=data_dir)
    with open_bus(settings) as connected:
        found = sorted(blocking.blocked(open_ledger(connected, settings), name).items())
    if as_json:
        said = [{"item": item, "until_ms": until_ms or None} for item, until_ms in found]
        typer.echo(json.dumps({"model": name, "blocked": said}))
    elif not found:
        typer.echo(f"{name}: nothing is blocked")
    else:
        table = Table(title=f"{name}: blocked items", title_justify="left")
        table.add_column("item", overflow="fold")
        table.add_column("until")
        for item, until_ms in found:
            table.add_row(escape(item), clock(until_ms) if until_ms else "for ever")
        Console().print(table)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (block, blocked):
        app.command()(command)
