"""`nearline snapshot` and `nearline snapshots`: what a new node begins with, where each has a store of its own."""

import json
import time
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from serving.cli.instances import clock
from serving.cli.options import Bus, DataDir, Json, load_settings
from serving.errors import BusUnavailableError
from serving.settings import Settings
from serving.snapshots.choose import now_ms, reason_against
from serving.snapshots.listing import list_snapshots, snapshot_folders
from serving.snapshots.logs import read_logs
from serving.snapshots.manifest import Manifest
from serving.snapshots.take import take
from serving.store.connect import is_shared

Store = Annotated[str | None, typer.Option(help="`lmdb` or redis://host:port/db.")]
_SHARED = "no snapshot is needed: all nodes share this store, and a new one finds everything in it"


def snapshot(
    store: Store = None,
    as_json: Json = False,
    bus: Bus = None,
    data_dir: DataDir = None,
) -> None:
    """Store a copy of this node's states and predictions, with its positions, in the artifact store."""
    settings = load_settings(store=store, bus=bus, data_dir=data_dir)
    if is_shared(settings.store):
        typer.echo(json.dumps({"snapshot": None, "reason": _SHARED}) if as_json else _SHARED)
        return
    began, url = time.monotonic(), snapshot_folders(settings).url
    console = Console(stderr=True)
    with console.status("starting") as status:  # shows nothing where nobody looks
        taken = take(settings, lambda step: status.update(step) if not as_json else None)
    seconds = time.monotonic() - began
    if as_json:
        typer.echo(json.dumps({"snapshot": _json(taken), "url": f"{url}/{taken.name}", "seconds": round(seconds, 3)}))
    else:
        shards = f"{len(taken.shards)} shard{'s' * (len(taken.shards) != 1)}"
        typer.echo(f"stored {url}/{taken.name}: {shards}, {_megabytes(taken)} in {seconds:.1f} s")


def snapshots(
    as_json: Json = False,
    bus: Bus = None,
    data_dir: DataDir = None,
) -> None:
    """List the snapshots in the artifact store, newest first, and whether a new node could begin with them."""
    settings = load_settings(bus=bus, data_dir=data_dir)
    found = list_snapshots(snapshot_folders(settings))
    against, unknown = _judge(settings, found)
    if as_json:
        said = [
            {**_json(manifest), "usable": None if unknown else not why, "reason": unknown or why}
            for manifest, why in zip(found, against, strict=True)
        ]
        typer.echo(json.dumps({"snapshots": said}))
        return
    if not found:
        typer.echo("no snapshot; take one with `nearline snapshot`")
        return
    table = Table(title="snapshots", title_justify="left")
    for column in ("name", "when", "node", "shards", "size", "usable"):
        right = column in {"shards", "size"}
        table.add_column(column, justify="right" if right else "left", overflow="fold")
    for manifest, why in zip(found, against, strict=True):
        usable = "unknown" if unknown else f"no: {why}" if why else "yes"
        size, shards = _megabytes(manifest), str(len(manifest.shards))
        table.add_row(manifest.name, clock(manifest.created_ms), manifest.node, shards, size, usable)
    Console().print(table)
    if unknown:
        typer.echo(f"whether they are usable is unknown: {unknown}")


def _judge(settings: Settings, found: list[Manifest]) -> tuple[list[str], str]:
    """Say what stands against each, and why that is unknown if it is."""
    if not found:
        return [], ""
    try:
        logs = read_logs(settings)
    except BusUnavailableError as error:
        return [""] * len(found), str(error)
    return [reason_against(manifest, logs, settings.topics, now_ms()) for manifest in found], ""


def _megabytes(manifest: Manifest) -> str:
    return f"{manifest.size / 1e6:.1f} MB"


def _json(manifest: Manifest) -> dict[str, object]:
    return {
        "name": manifest.name,
        "created_ms": manifest.created_ms,
        "node": manifest.node,
        "bytes": manifest.size,
        "events": manifest.positions(manifest.events),
        "commands": manifest.positions(manifest.commands),
    }


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(snapshot)
    app.command()(snapshots)
