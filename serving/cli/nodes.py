"""`nearline status` and `nearline nodes`: what is true, as the workers say."""

import json
from contextlib import suppress
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from protos.nearline.v1 import status_pb2
from protos.status_view import StatusView, has_been_ready
from protos.topics import instance_key, presence_key
from publisher.signing import open_ledger
from serving.bus.port import Bus as Port
from serving.bus.read_status import read_fleet, read_status
from serving.cli.instances import instance_json, print_instances
from serving.cli.layout import Row, print_table
from serving.cli.options import Bus, DataDir, Json, load_settings
from serving.cli.session import open_bus
from serving.cli.workers import presence_json, print_workers
from serving.errors import NotFoundError
from serving.settings import Settings


def status(
    model: Annotated[str | None, typer.Argument(help="Only this model.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Instances of processes that are gone, too.")] = False,
    as_json: Json = False,
    bus: Bus = None,
    data_dir: DataDir = None,
) -> None:
    """Show every model instance: model, version, node, worker, state, since when, and its error."""
    settings = load_settings(bus=bus, data_dir=data_dir)
    with open_bus(settings) as connected:
        view = read_status(connected, settings.topics.status.name)
        if model is not None:
            _check_known(model, view, connected, settings)
    found = view.statuses() if everything else view.current()
    found = sorted(
        (s for s in found if model in {None, s.model}), key=lambda s: (s.model, -s.version, s.node, s.worker)
    )
    faults = [fault for fault in view.response().faults if model in {None, fault.model}]
    if as_json:
        said = [{"offset": f.offset, "model": f.model, "node": f.node, "worker": f.worker} | _error(f) for f in faults]
        typer.echo(json.dumps({"instances": [instance_json(s) for s in found], "faults": said}))
        return
    console = Console()
    if not found:
        of = f" of {escape(model)}" if model else ""
        console.print(
            f"no model instance{of} is known; publish one with `nearline publish NAME MODEL`, run a node "
            "with `nearline serve`",
            soft_wrap=True,
        )
    else:
        print_instances(console, found)
    if faults:
        _print_faults(console, faults)


def _check_known(model: str, view: StatusView, bus: Port, settings: Settings) -> None:
    """NotFoundError where other models are known and this one is not: it is mistyped."""
    known = {status.model for status in view.statuses()} | {fault.model for fault in view.faults()}
    if model in known:
        return
    with suppress(NotFoundError):  # no ledger yet; it is not for us to make one
        bus.partitions(settings.topics.models.name)
        known |= set(open_ledger(bus, settings).read().models)
    if known and model not in known:
        names = ", ".join(sorted(filter(None, known)))
        raise NotFoundError(f"model: expected one that is known ({names}), got {model!r}")


def nodes(
    prune: Annotated[bool, typer.Option(help="Forget the workers that are gone.")] = False,
    as_json: Json = False,
    bus: Bus = None,
    data_dir: DataDir = None,
) -> None:
    """Show every worker of every node, and whether it is live."""
    settings = load_settings(bus=bus, data_dir=data_dir)
    topic = settings.topics.status.name
    with open_bus(settings) as connected:
        fleet = read_fleet(connected, topic)
        view, live = fleet.view, {presence.incarnation for presence in fleet.live}
        gone = [presence for presence in view.presences() if presence.incarnation not in live]
        if prune and gone:
            keys = [key for presence in gone for key in _keys(view, presence)]
            connected.append_many(topic, [(key, None) for key in keys])
    workers = sorted(view.presences(), key=lambda p: (p.node, p.worker))
    if prune:
        workers = [presence for presence in workers if presence.incarnation in live]
    if as_json:
        said = [presence_json(p, view.seen_ms(p), live=p.incarnation in live) for p in workers]
        typer.echo(json.dumps({"workers": said, "pruned": len(gone) if prune else 0}))
        return
    if not workers:
        typer.echo("no worker is known; run a node with `nearline serve`")
        return
    print_workers(Console(), [(p, view.seen_ms(p), p.incarnation in live) for p in workers])


def _keys(view: StatusView, presence: status_pb2.Presence) -> list[bytes]:
    """The presence and what has not come to anything; a rollback asks which versions have been ready."""
    mine = [
        status
        for status in view.statuses()
        if (status.node, status.worker) == (presence.node, presence.worker) and not has_been_ready(status)
    ]
    instances = [instance_key(s.node, s.worker, s.model, s.version) for s in mine]
    return [presence_key(presence.node, presence.worker), *instances]


def _error(fault: status_pb2.LedgerFault) -> dict[str, object]:
    return {
        "version": fault.version,
        "kind": status_pb2.ErrorKind.Name(fault.error.kind),
        "message": fault.error.message,
    }


def _print_faults(console: Console, faults: list[status_pb2.LedgerFault]) -> None:
    rows = [
        Row(
            {
                "offset": str(fault.offset),
                "model": fault.model,
                "version": str(fault.version or ""),
                "node": fault.node,
                "worker": fault.worker,
            },
            f"{status_pb2.ErrorKind.Name(fault.error.kind)}: {fault.error.message}",
            f"{fault.node}/{fault.worker}",
            f"offset {fault.offset}",
        )
        for fault in faults
    ]
    title = "ledger records that could not be used"
    print_table(console, title, ("offset", "model", "version", "node", "worker"), rows, text="error")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(status)
    app.command()(nodes)
