"""`nearline demo`: the whole main job on real parts, in a minute."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from serving.cli.errors import FAILED
from serving.cli.options import Json
from serving.demo.run import run_demo


def demo(
    data: Annotated[
        Path | None,
        typer.Option(help="UCI Online Retail (Parquet, CSV, Excel) or MovieLens. Default: a generated shop."),
    ] = None,
    bus: Annotated[str, typer.Option(help="`embedded` or kafka://host:port.")] = "embedded",
    store: Annotated[str, typer.Option(help="`lmdb` or redis://host:port/db.")] = "lmdb",
    seed: Annotated[int, typer.Option(help="Of the generated shop.")] = 0,
    as_json: Json = False,
) -> None:
    """Train on real or generated purchases, publish, replay, answer, hot-swap, survive a broken version, roll back.

    It brings a node of its own, in a folder of its own, with topics of its own; nothing else is touched.
    """
    console = Console(stderr=as_json)
    report = run_demo(data, bus, store, seed, console)
    if as_json:
        typer.echo(json.dumps(report.as_json()))
    if bus != "embedded":
        console.print(f"its topics stay on the broker, under the prefix {report.prefix}; delete them when you like")
    if not report.ended_well:
        raise typer.Exit(FAILED)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(demo)
