"""Tables of model instances and rollouts, as several commands print them."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from rich.markup import escape
from rich.table import Table

from protos.ledger import Line, ModelRecord
from protos.nearline.v1 import status_pb2

_COLOURS = {
    status_pb2.READY: "green",
    status_pb2.FAILED: "bold red",
    status_pb2.REJECTED: "bold red",
    status_pb2.SUPERSEDED: "dim",
    status_pb2.UNLOADED: "dim",
}


def state_cell(state: "status_pb2.InstanceState.ValueType") -> str:
    """Name a state, coloured."""
    name = status_pb2.InstanceState.Name(state)
    colour = _COLOURS.get(state)
    return f"[{colour}]{name}[/]" if colour else name


def why_cell(status: status_pb2.InstanceStatus) -> str:
    """Say why an instance is in its state; a message may hold square brackets, which are no markup."""
    if status.HasField("error"):
        return escape(f"{status_pb2.ErrorKind.Name(status.error.kind)}: {status.error.message}")
    return escape(status.reason)


def instances_table(statuses: Iterable[status_pb2.InstanceStatus]) -> Table:
    """By model, version, node and worker."""
    table = Table(title="model instances", title_justify="left")
    for column in ("model", "version", "node", "worker", "state", "since"):
        table.add_column(column, no_wrap=True)
    table.add_column("error", overflow="fold")
    for status in statuses:
        table.add_row(
            status.model,
            str(status.version),
            status.node,
            status.worker,
            state_cell(status.state),
            clock(status.since_ms),
            why_cell(status),
        )
    return table


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
        "since_ms": status.since_ms,
        "ready_at_ms": status.ready_at_ms,
        "attempts": status.attempts,
        "retry_at_ms": status.retry_at_ms,
        "reason": status.reason,
        "error": error,
    }


def rollout_table(model: str, record: ModelRecord) -> Table:
    """The lines of a rollout."""
    table = Table(title=f"{model}: rollout epoch {record.epoch}", title_justify="left")
    table.add_column("where")
    table.add_column("serves")
    for line in record.lines:
        table.add_row(escape(scope_text(line.scope)) or "everywhere", shares_text(line))
    return table


def rollout_json(model: str, record: ModelRecord) -> dict[str, Any]:
    """A rollout for programs."""
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


def clock(ms: int) -> str:
    """Local time of day; the date too, when it was not today."""
    if not ms:
        return ""
    at = datetime.fromtimestamp(ms / 1000, UTC).astimezone()
    today = datetime.now(UTC).astimezone().date()
    return at.strftime("%H:%M:%S" if at.date() == today else "%Y-%m-%d %H:%M")
