"""Workers, as `nearline nodes` shows them."""

from rich.console import Console

from protos.nearline.v1 import status_pb2
from protos.status_view import LIVE_MS
from serving.cli.instances import clock
from serving.cli.layout import Row, print_table
from serving.cli.traffic import scope_text


def print_workers(console: Console, workers: list[tuple[status_pb2.Presence, int, bool]]) -> None:
    """Print each worker, with when it was seen and whether it is live."""
    rows = []
    for presence, seen_ms, live in workers:
        labels = scope_text(presence.labels)
        cells = {
            "node": presence.node,
            "worker": presence.worker,
            "role": status_pb2.Role.Name(presence.role).lower(),
            "state": ("[green]live[/]" if live else "[red]gone[/]")
            + (", from disk" * bool(presence.degraded_since_ms)),
            "seen": clock(seen_ms),
            "address": presence.address,
            "labels": labels,
            "version": presence.nearline_version,
            "since": clock(presence.started_at_ms),
        }
        rows.append(Row(cells, labels, f"{presence.node}/{presence.worker}"))
    title = f"workers (live = seen in the last {LIVE_MS // 1000} s)"
    columns = ("node", "worker", "role", "state", "seen", "address", "labels", "version", "since")
    print_table(console, title, columns, rows, spare="role labels version since")
    _warn_of_trust(console, [presence for presence, _, live in workers if live])
    for presence, _, _ in workers:
        if presence.degraded_since_ms:
            who, since = f"{presence.node}/{presence.worker}", clock(presence.degraded_since_ms)
            console.print(f"{who} has served from disk since {since}: the bus is away", soft_wrap=True, highlight=False)


def _warn_of_trust(console: Console, live: list[status_pb2.Presence]) -> None:
    """Say so when anybody may say anything, and when workers do not believe the same."""
    believing = sorted({presence.node for presence in live if not presence.trusted_keys})
    if believing:
        console.print(
            f"[bold yellow]warning:[/] {', '.join(believing)} accepts unsigned announcements: whoever may write the "
            "ledger's topic can run a model there; see docs/security.md",
            soft_wrap=True,
            highlight=False,
        )
    if len({presence.trust for presence in live}) > 1:
        console.print(
            "[bold yellow]warning:[/] these workers trust different keys, so they may disagree about what is "
            "announced; give all nodes the same NEARLINE_TRUSTED_KEYS and restart them",
            soft_wrap=True,
            highlight=False,
        )


def presence_json(presence: status_pb2.Presence, seen_ms: int, *, live: bool) -> dict[str, object]:
    """One worker for programs."""
    return {
        "node": presence.node,
        "worker": presence.worker,
        "role": status_pb2.Role.Name(presence.role),
        "live": live,
        "seen_ms": seen_ms,
        "pid": presence.pid,
        "address": presence.address,
        "labels": dict(presence.labels),
        "started_at_ms": presence.started_at_ms,
        "degraded_since_ms": presence.degraded_since_ms,
        "nearline_version": presence.nearline_version,
        "runtime_version": presence.runtime_version,
        "accepts_unsigned": not presence.trusted_keys,
        "trusted_keys": list(presence.trusted_keys),
        "trust": presence.trust,
    }
