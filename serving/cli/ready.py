"""Waits until enough instances of a version are READY, and says which are not, before a rollout gives it traffic."""

import json
import math
from collections.abc import Mapping

import typer
from rich.console import Console

from protos.nearline.v1 import status_pb2
from protos.records import ModelRecord
from protos.topics import Topics
from publisher.ledger import Ledger, known_model
from publisher.rollouts import announced_version
from publisher.wait import Progress, wait_for_version
from serving.bus.port import Bus
from serving.cli.errors import NO_NODE, NOT_READY
from serving.cli.instances import instance_json, print_instances


def await_ready(
    ledger: Ledger, bus: Bus, topics: Topics, model: str, version: int, percent: float,
    scope: Mapping[str, str], timeout_s: float, *, as_json: bool,
) -> None:  # fmt: skip
    """Return once `percent` of the live workers that match the scope have it READY; else end the program."""
    record: ModelRecord = known_model(ledger.read(), model)
    announced = announced_version(record, model, version)

    def counted(worker: status_pb2.Presence) -> bool:
        return scope.items() <= dict(worker.labels).items()

    def needed(progress: Progress) -> int:
        return math.ceil(percent / 100 * len(progress.rows))

    progress = wait_for_version(
        bus,
        topics,
        model,
        announced,
        timeout_s,
        enough=lambda progress: 0 < needed(progress) <= len(progress.ready),
        counted=counted,
    )
    if progress.rows and len(progress.ready) >= needed(progress):
        return
    others = [status for _, status in progress.rows if status and status.state != status_pb2.READY]
    silent = [f"{presence.node}/{presence.worker}" for presence, status in progress.rows if status is None]
    said = (
        f"version {version} of {model}: expected READY in {needed(progress)} of {len(progress.rows)} live instances, "
        f"got {len(progress.ready)}; nothing was changed"
        if progress.rows
        else f"version {version} of {model}: no node is live, so nobody has loaded it; nothing was changed"
    )
    if as_json:
        shown = [instance_json(status) for _, status in progress.rows if status]
        typer.echo(json.dumps({"error": said, "instances": shown, "silent": silent}))
    else:
        console = Console(stderr=True)
        if others:
            print_instances(console, others)
        if silent:
            console.print(f"nothing was heard of it from {', '.join(silent)}", soft_wrap=True, highlight=False)
        console.print(f"[bold red]error:[/] {said}", soft_wrap=True, highlight=False)
    raise typer.Exit(NOT_READY if progress.rows else NO_NODE)
