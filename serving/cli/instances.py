"""Model instances, as several commands print them."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from rich.console import Console

from protos.nearline.v1 import status_pb2
from serving.cli.layout import Row, print_table

_COLOURS = {
    status_pb2.READY: "green",
    status_pb2.FAILED: "bold red",
    status_pb2.REJECTED: "bold red",
    status_pb2.SUPERSEDED: "dim",
    status_pb2.UNLOADED: "dim",
}


def state_cell(status: status_pb2.InstanceStatus) -> str:
    """Name an instance's state, coloured."""
    name = status_pb2.InstanceState.Name(status.state) + (" (held)" if status.held else "")
    colour = _COLOURS.get(status.state)
    return f"[{colour}]{name}[/]" if colour else name


def why(status: status_pb2.InstanceStatus) -> str:
    """Say why an instance is in its state."""
    if status.HasField("error"):
        return f"{status_pb2.ErrorKind.Name(status.error.kind)}: {status.error.message}"
    return status.reason


def print_instances(console: Console, statuses: Iterable[status_pb2.InstanceStatus]) -> None:
    """By model, version, node and worker."""
    rows = [
        Row(
            {
                "model": status.model,
                "version": str(status.version),
                "node": status.node,
                "worker": status.worker,
                "state": state_cell(status),
                "since": clock(status.since_ms),
                "filled": filled_cell(status),
            },
            why(status),
            f"{status.node}/{status.worker}",
            f"{status.model} {status.version}",
        )
        for status in statuses
    ]
    columns: tuple[str, ...] = ("model", "version", "node", "worker", "state", "since")
    if any(row.cells["filled"] for row in rows):
        columns = (*columns, "filled")
    print_table(console, "model instances", columns, rows, text="error")


def filled_cell(status: status_pb2.InstanceStatus) -> str:
    """Say how many of the active entities that a near-line worker has a version for have a prediction by it."""
    total, left = status.backfill_total, status.backfill_left
    return f"{100 * (total - left) // total} % of {total:,}" if total else ""


def instance_json(status: status_pb2.InstanceStatus) -> dict[str, Any]:
    """One instance for programs."""
    error = None
    if status.HasField("error"):
        kind = status_pb2.ErrorKind.Name(status.error.kind)
        error = {"kind": kind, "message": status.error.message, "detail": status.error.detail}
    return {
        "model": status.model,
        "version": status.version,
        "digest": status.digest,
        "node": status.node,
        "worker": status.worker,
        "role": status_pb2.Role.Name(status.role),
        "state": status_pb2.InstanceState.Name(status.state),
        "held": status.held,
        "since_ms": status.since_ms,
        "ready_at_ms": status.ready_at_ms,
        "attempts": status.attempts,
        "retry_at_ms": status.retry_at_ms,
        "reason": status.reason,
        "backfill": {"total": status.backfill_total, "left": status.backfill_left},
        "error": error,
    }


def clock(ms: int) -> str:
    """Local time of day; the date too, when it was not today; the date alone, of another year."""
    if not ms:
        return ""
    at, now = datetime.fromtimestamp(ms / 1000, UTC).astimezone(), datetime.now(UTC).astimezone()
    if at.date() == now.date():
        return at.strftime("%H:%M:%S")
    return at.strftime("%m-%d %H:%M" if at.year == now.year else "%Y-%m-%d")
