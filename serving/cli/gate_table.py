"""What the gate found, as a table."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.markup import escape
from rich.table import Table

from publisher.gate.report import Check


def gate_table(checks: Sequence[Check]) -> Table:
    """One line a check; those that failed stand out."""
    table = Table(title="gate", title_justify="left")
    for column in ("", "check", "expected", "found"):
        table.add_column(column, overflow="fold")
    for check in checks:
        mark = ("[green]ok[/]" if check.expected else "") if check.passed else "[bold red]FAILED[/]"
        table.add_row(mark, escape(check.name), escape(check.expected), escape(check.actual))
    return table


def gate_json(checks: Sequence[Check]) -> list[dict[str, Any]]:
    """The same for programs."""
    return [asdict(check) for check in checks]
