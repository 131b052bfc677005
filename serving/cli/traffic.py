"""What serves where, as several commands take and print it."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from protos.records import Line, ModelRecord

Scope = Annotated[
    list[str] | None, typer.Option("--scope", metavar="LABEL=VALUE", help="Only on nodes with this label; repeatable.")
]
Reason = Annotated[str, typer.Option(help="For the record.")]


def show_rollout(name: str, record: ModelRecord, *, as_json: bool) -> None:
    """Print the rollout as it is now."""
    if as_json:
        typer.echo(json.dumps(_json(name, record)))
    elif record.lines:
        Console().print(_table(name, record))
    else:
        typer.echo(f"{name}: rollout epoch {record.epoch}, the newest version serves everywhere")


def _table(model: str, record: ModelRecord) -> Table:
    table = Table(title=f"{model}: rollout epoch {record.epoch}", title_justify="left")
    table.add_column("where")
    table.add_column("serves")
    for line in record.lines:
        table.add_row(escape(scope_text(line.scope)) or "everywhere", shares_text(line))
    return table


def _json(model: str, record: ModelRecord) -> dict[str, Any]:
    lines = [
        {"scope": dict(line.scope), "shares": {str(s.version): s.weight_ppm / 1e6 for s in line.shares}}
        for line in record.lines
    ]
    return {"model": model, "epoch": record.epoch, "lines": lines, "retired": sorted(record.retired)}


def shares_text(line: Line) -> str:
    """`3 (10 %), 2 (90 %)`."""
    return ", ".join(f"{share.version} ({share.weight_ppm / 1e4:g} %)" for share in line.shares)


def scope_text(scope: Mapping[str, str]) -> str:
    """`region=eu, app=shop`."""
    return ", ".join(f"{name}={value}" for name, value in sorted(scope.items()))
