"""`nearline load`, `loads`: predictions that were computed elsewhere."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from protos.bulk import kept
from protos.records import BulkLoad
from publisher import bulk
from publisher.api import check_reachable
from publisher.bulk_table import Columns
from publisher.signing import open_ledger
from serving.artifacts.store import FsspecArtifacts
from serving.cli.options import Bus, DataDir, Json, ModelName, load_settings
from serving.cli.session import open_bus
from serving.cli.times import parse_time
from serving.errors import InvalidRequestError


def load(
    name: ModelName,
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="Parquet: a row for each entity.")] = None,
    version: Annotated[int | None, typer.Option(help="Which one computed them. Default: the one that serves.")] = None,
    entity: Annotated[str, typer.Option(metavar="COL", help="Column of entity ids.")] = "entity",
    items: Annotated[str, typer.Option(metavar="COL", help="Column of lists of item ids, best first.")] = "items",
    scores: Annotated[str, typer.Option(metavar="COL", help="Column of lists of scores.")] = "scores",
    computed_at: Annotated[
        str | None, typer.Option(metavar="TIME", help="When they were computed. Default: now.")
    ] = None,
    allow_unknown: Annotated[
        bool, typer.Option("--allow-unknown", help="Items may be missing in the version's catalogue.")
    ] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Show the load before again, or none.")] = False,
    artifacts: Annotated[str | None, typer.Option(help="fsspec URL of the artifact store.")] = None,
    as_json: Json = False,
    bus: Bus = None,
    data_dir: DataDir = None,
) -> None:
    """Load predictions that were computed elsewhere. They are seen in one step, once all of them are in the store.

    A prediction that was computed here later, after an event, wins over one that was loaded.
    """
    if (file is None) != undo:
        raise InvalidRequestError("load", "either a FILE or --undo", "both" if undo else "neither")
    settings = load_settings(bus=bus, data_dir=data_dir, artifacts=artifacts)
    at_ms = None if computed_at is None else parse_time(computed_at, "--computed-at")
    with open_bus(settings) as connected:
        ledger = open_ledger(connected, settings)
        if file is None:
            shown = bulk.undo(ledger, name)
            said: dict[str, object] = {"model": name, "shown": shown or None}
            text = f"{name}: load {shown} is shown again" if shown else f"{name}: no load is shown any more"
        else:
            check_reachable(settings)
            store = FsspecArtifacts(settings.artifacts_url)
            columns = Columns(entity, items, scores)
            done = bulk.load(
                ledger,
                store,
                name,
                file,
                version=version,
                columns=columns,
                computed_at_ms=at_ms,
                allow_unknown=allow_unknown,
            )
            said = {"model": name, **_load_json(done), "shown": done.number}
            text = (
                f"{name}: load {done.number} of version {done.version}, {done.rows} predictions; "
                "it is seen once every shard has all of it"
            )
    typer.echo(json.dumps(said) if as_json else text)


def loads(name: ModelName, as_json: Json = False, bus: Bus = None, data_dir: DataDir = None) -> None:
    """List the loads of a model, the newest first."""
    settings = load_settings(bus=bus, data_dir=data_dir)
    with open_bus(settings) as connected:
        found, shown = bulk.loads(open_ledger(connected, settings), name)
    stays = {load.number for load in kept(found, shown)}
    newest_first = sorted(found.items(), reverse=True)
    if as_json:
        said = [_load_json(one) | {"kept": number in stays} for number, one in newest_first]
        typer.echo(json.dumps({"model": name, "shown": shown or None, "loads": said}))
    elif not found:
        typer.echo(f"{name}: nothing was loaded")
    else:
        table = Table(title=f"{name}: bulk loads", title_justify="left")
        for column in ("load", "version", "predictions", "bytes", "state"):
            table.add_column(column, justify="left" if column == "state" else "right")
        for number, one in newest_first:
            state = "shown" if number == shown else "kept" if number in stays else "dropped"
            table.add_row(str(number), str(one.version), str(one.rows), str(one.size), state)
        Console().print(table)


def _load_json(load: BulkLoad) -> dict[str, object]:
    return {
        "load": load.number,
        "version": load.version,
        "rows": load.rows,
        "bytes": load.size,
        "sha256": load.sha256,
        "uri": load.uri,
    }


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (load, loads):
        app.command()(command)
