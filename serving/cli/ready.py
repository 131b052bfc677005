"""Says why a rollout that was to wait for READY instances was not made."""

import json
from collections.abc import Mapping
from typing import NoReturn

import typer
from rich.console import Console

from protos.nearline.v1 import status_pb2
from protos.status_view import LIVE_MS
from publisher.ready import Readiness
from serving.cli.errors import NO_NODE, NOT_READY
from serving.cli.instances import instance_json, print_instances
from serving.cli.traffic import scope_text


def give_up(model: str, version: int, found: Readiness, scope: Mapping[str, str], *, as_json: bool) -> NoReturn:
    """Print which instances are not READY and why, and end the program."""
    said = f"version {version} of {model}: {_shortfall(found, scope)}; nothing was changed"
    silent = [f"{presence.node}/{presence.worker}" for presence, status in found.rows if status is None]
    if as_json:
        shown = [instance_json(status) for _, status in found.rows if status]
        typer.echo(json.dumps({"error": said, "instances": shown, "silent": silent}))
    else:
        console = Console(stderr=True)
        others = [status for _, status in found.rows if status and status.state != status_pb2.READY]
        if others:
            print_instances(console, others)
        if silent:
            console.print(f"nothing was heard of it from {', '.join(silent)}", soft_wrap=True, highlight=False)
        console.print(f"[bold red]error:[/] {said}", soft_wrap=True, highlight=False)
    raise typer.Exit(NOT_READY if found.rows else NO_NODE)


def _shortfall(found: Readiness, scope: Mapping[str, str]) -> str:
    if not found.rows:
        if found.elsewhere:
            return f"no worker is live on a node with {scope_text(scope)} ({found.elsewhere} are on others)"
        return "no node is live, so nobody has loaded it"
    if not found.sure:
        return (
            "no worker was heard in time, and this machine's clock and the bus's differ, so that it is not known who "
            f"is live; wait for at least {LIVE_MS // 1000} s (--timeout)"
        )
    said = f"expected READY in {found.needed} of {len(found.rows)} live instances, got {found.ready}"
    if found.retrying:
        said += f"; {found.retrying} that failed are tried again: --timeout says how long that is waited for"
    if found.unwanted:
        said += (
            f"; {found.unwanted} will not load it, as it is neither to serve there nor the newest version and held: "
            "publish it with --hold, or roll it out without --when-ready"
        )
    return said
