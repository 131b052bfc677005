"""What `nearline publish` says in the end."""

import json
from collections.abc import Sequence
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from publisher.announce import Announcement
from publisher.gate.report import Check
from publisher.wait import Progress
from serving.cli.errors import NO_NODE, NOT_READY
from serving.cli.gate_table import gate_json, gate_table
from serving.cli.instances import instance_json, state_cell, why


def say(announced: Announcement, found: Sequence[Check], progress: Progress | None, *, as_json: bool) -> None:
    """Print what was announced, what the gate found, and how far the instances are."""
    if as_json:
        said: dict[str, Any] = {
            "model": announced.model,
            "version": announced.version,
            "digest": announced.digest,
            "uri": announced.uri,
            "offset": announced.offset,
            "gate": gate_json(found),
        }
        if progress is not None:
            said["instances"] = [instance_json(status) for _, status in progress.rows if status]
            said["live_workers"] = len(progress.rows)
            said["seconds"] = round(progress.seconds, 3)
        typer.echo(json.dumps(said))
        return
    console = Console()
    console.print(
        f"[bold]{announced.model}[/] version [bold]{announced.version}[/] is announced "
        f"(bundle {announced.digest[:12]})",
        highlight=False,
    )
    console.print(gate_table(found))
    if progress is not None and progress.rows:
        console.print(table(announced, progress))
        if progress.ended:
            console.print(f"every live instance ended its way {progress.seconds:.2f} s after the announcement")


def table(announced: Announcement, progress: Progress) -> Table:
    """The state of each live worker's instance."""
    shown = Table(title=f"{announced.model} version {announced.version}", title_justify="left")
    for column in ("node", "worker", "state"):
        shown.add_column(column, no_wrap=True)
    shown.add_column("error", overflow="fold")
    for presence, status in progress.rows:
        state, said = (state_cell(status), escape(why(status))) if status else ("…", "")
        shown.add_row(presence.node, presence.worker, state, said)
    return shown


def end(announced: Announcement, progress: Progress, timeout: float) -> NoReturn:
    """End the program with the exit code that --wait promises."""
    console = Console(stderr=True)
    if not progress.rows:
        console.print(
            "[bold red]error:[/] no node is live, so nobody loads it yet; run `nearline serve`", soft_wrap=True
        )
        raise typer.Exit(NO_NODE)
    if progress.failed:
        of = f"{len(progress.failed)} of {len(progress.rows)}"
        console.print(
            f"[bold red]error:[/] {of} instances failed; what served before goes on serving. Mend the model and "
            f"publish it again, or try once more with `nearline retry {announced.model}`",
            soft_wrap=True,
        )
        raise typer.Exit(NOT_READY)
    if not progress.ended:
        console.print(
            f"[bold red]error:[/] not every instance was ready within {timeout:g} s; see `nearline status`",
            soft_wrap=True,
        )
        raise typer.Exit(NOT_READY)
    raise typer.Exit(0)
