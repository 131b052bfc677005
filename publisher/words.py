"""Statements of the ledger in words, for people who read the history of a model."""

from collections.abc import Mapping

from protos.nearline.v1 import ledger_pb2
from protos.records import MILLION

_ITEMS = 5


def describe(statement: ledger_pb2.Statement) -> str:  # noqa: PLR0911 - a table, by kind
    """Say what a statement states, in one line; empty for one of an unknown kind."""
    match statement.WhichOneof("kind"):
        case "announcement":
            said = statement.announcement
            return f"version {said.version}, bundle {said.digest[:12]}" + (", held" if said.held else "")
        case "rollout":
            lines = "; ".join(_line(line) for line in statement.rollout.lines) or "the newest version everywhere"
            return f"epoch {statement.rollout.epoch}: {lines}"
        case "retirement":
            return f"version {statement.retirement.version}"
        case "retrial":
            return f"version {statement.retrial.version}, epoch {statement.retrial.epoch}"
        case "blocking":
            return _blocking(statement.blocking)
        case "bulk_load":
            load = statement.bulk_load
            return f"load {load.number} of version {load.version}, {load.rows} predictions"
        case "bulk_shown":
            shown = statement.bulk_shown
            return f"epoch {shown.epoch}: show " + (f"load {shown.number}" if shown.number else "no load")
    return ""


def reason_of(statement: ledger_pb2.Statement) -> str:
    """Return the reason that was given for the record, or what was said of a version; empty when none was."""
    kind = statement.WhichOneof("kind")
    said = getattr(statement, kind) if kind else None
    reason: str = getattr(said, "description" if kind == "announcement" else "reason", "")
    return reason


def _line(line: ledger_pb2.RolloutLine) -> str:
    shares = ", ".join(f"version {s.version} {100 * s.weight_ppm / MILLION:g} %" for s in line.shares)
    scope: Mapping[str, str] = line.scope
    where = ", ".join(f"{name}={value}" for name, value in sorted(scope.items())) or "everywhere"
    return f"{shares} {where}"


def _blocking(said: ledger_pb2.Blocking) -> str:
    hidden = [entry.item for entry in said.items if not entry.lifted]
    lifted = [entry.item for entry in said.items if entry.lifted]
    parts = [f"{word} {_some(items)}" for word, items in (("hide", hidden), ("show again", lifted)) if items]
    return "; ".join(parts)


def _some(items: list[str]) -> str:
    return ", ".join(items[:_ITEMS]) + (f" and {len(items) - _ITEMS} more" if len(items) > _ITEMS else "")
