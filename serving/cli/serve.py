"""`nearline serve`: a node, until Ctrl-C."""

import asyncio
from typing import Annotated, Any

import typer
from rich.console import Console

from serving.cli.options import Bus, DataDir, load_settings, parse_labels
from serving.rpc.tracing import demand_otel
from serving.supervisor.supervisor import Supervisor
from serving.telemetry.logs import configure_logs
from serving.trust.configured import check_trust


def serve(
    port: Annotated[int | None, typer.Option(help="Port of the gRPC server; 0 = any free one.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; 0.0.0.0 = all.")] = None,
    workers: Annotated[int | None, typer.Option(help="Serving workers.")] = None,
    nearline_workers: Annotated[int | None, typer.Option(help="Near-line workers.")] = None,
    metrics_port: Annotated[int | None, typer.Option(help="Port of /metrics, /healthz and /readyz.")] = None,
    node: Annotated[str | None, typer.Option(help="Name of this node.")] = None,
    label: Annotated[list[str] | None, typer.Option(help="name=value, which scopes of rollouts match.")] = None,
    store: Annotated[str | None, typer.Option(help="`lmdb` or redis://host:port/db.")] = None,
    transport: Annotated[str | None, typer.Option(help="What carries gRPC: grpcio or native.")] = None,
    log_format: Annotated[str | None, typer.Option(help="json, human or auto.")] = None,
    bus: Bus = None,
    data_dir: DataDir = None,
) -> None:
    """Run a node: serving workers on one port, near-line workers, and a supervisor that keeps them running."""
    settings = load_settings(
        port=port,
        host=host,
        workers=workers,
        nearline_workers=nearline_workers,
        metrics_port=metrics_port,
        node=node,
        labels=parse_labels(label, "--label") if label else None,
        store=store,
        transport=transport,
        log_format=log_format,
        bus=bus,
        data_dir=data_dir,
    )
    if settings.traces:
        demand_otel()  # here, not in each worker
    check_trust(settings)  # with a wrong setting a worker would fail over and over
    configure_logs(settings.log_format, settings.log_level, node=settings.node, worker="supervisor")

    def ready(info: dict[str, Any]) -> None:
        console = Console(stderr=True)
        if console.is_terminal:
            console.print(
                f"[bold green]ready[/]: gRPC on {info['address']}, metrics on {info['metrics']}; Ctrl-C stops"
            )

    asyncio.run(Supervisor(settings, ready).run())


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(serve)
