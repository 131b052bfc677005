"""`nearline models`: which models there are, and whose they are."""

import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from protos.records import Line
from publisher.models import Listed, list_models
from publisher.signing import open_ledger
from serving.cli.instances import clock
from serving.cli.layout import Row, print_table
from serving.cli.options import Bus, DataDir, Json, load_settings
from serving.cli.session import open_bus
from serving.cli.traffic import shares_text
from serving.recipes.durations import show_duration

_COLUMNS = ("model", "newest", "since", "serves", "versions", "owner", "tags", "framework")
_SPARE = "versions framework tags"


def models(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="A part of the name. Default: all models.")] = "",
    owner: Annotated[str, typer.Option(help="A part of the owner's name, in whatever case.")] = "",
    tag: Annotated[
        list[str] | None, typer.Option(help="Only models with this tag; repeatable: with all of them.")
    ] = None,
    feature: Annotated[
        list[str] | None,
        typer.Option(help="Only models with this input, or whose recipe reads this field; repeatable."),
    ] = None,
    stale: Annotated[bool, typer.Option("--stale", help="Only those that are older than they may become.")] = False,
    as_json: Json = False,
    bus: Bus = None,
    data_dir: DataDir = None,
) -> None:
    """List models, and search them by what their newest version says."""
    settings = load_settings(bus=bus, data_dir=data_dir)
    with open_bus(settings) as connected:
        world = open_ledger(connected, settings).read()
    found = list_models(world, name=name, owner=owner, tags=tag or (), features=feature or ())
    if stale:
        found = [one for one in found if one.stale]
    if as_json:
        typer.echo(json.dumps({"models": [_json(one) for one in found]}))
    elif not found:
        typer.echo("no such model" if world.models else "no model was announced yet; see `nearline publish --help`")
    else:
        print_table(Console(), "models", _COLUMNS, [_row(one) for one in found], text="description", spare=_SPARE)


def _row(one: Listed) -> Row:
    about = one.newest.about
    late = f" [bold red]older than {show_duration(about.stale_after_s)}[/]" if one.stale else ""
    cells = {
        "model": one.name,
        "newest": str(one.newest.version) + (" held" if one.newest.held else ""),
        "since": clock(one.newest.created_at_ms) + late,
        "serves": shares_text(Line({}, one.serving)) or "nothing",
        "versions": str(len(one.record.versions)),
        "owner": escape(about.owner),
        "tags": escape(", ".join(about.tags)),
        "framework": escape(about.framework),
    }
    return Row(cells, about.description, one.name)


def _json(one: Listed) -> dict[str, Any]:
    about = one.newest.about
    return {
        "model": one.name,
        "newest": one.newest.version,
        "serving": {str(share.version): share.weight_ppm / 1e6 for share in one.serving},
        "versions": sorted(one.record.versions),
        "held": sorted(version for version, known in one.record.versions.items() if known.held),
        "retired": sorted(one.record.retired),
        "created_at_ms": one.newest.created_at_ms,
        "stale": one.stale,
        "owner": about.owner,
        "description": about.description,
        "tags": list(about.tags),
        "features": list(about.features),
        "framework": about.framework,
    }


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(models)
