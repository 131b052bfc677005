"""Tables that stay readable on a narrow terminal: no worker's name is cut, and long texts get lines of their own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.box import HEAVY_HEAD, SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

_FOLDED = frozenset({"model", "node", "labels", "topic", "key"})
"""Columns of names that people choose; where there is no room these are broken over lines, and no others."""
_RIGHT = frozenset({"partition", "offset", "size"})
"""Columns of numbers."""
_NAMED = 20
"""So many rows are named beside a text that they share; the table has them all."""
_TEXT_WIDTH = 40
_ANY_WIDTH = 100_000


@dataclass(frozen=True, slots=True)
class Row:
    """Cells as markup, by column. `text`: what may be long, as plain text; `what` and `who` name the row beside it."""

    cells: Mapping[str, str]
    text: str
    who: str
    what: str = ""


def print_table(
    console: Console, title: str, columns: Sequence[str], rows: Sequence[Row], *, text: str = "", spare: str = ""
) -> None:
    """Print rows. `text`: header of the texts' column; they stand below the table where it has no room beside.

    `spare`: columns, separated by spaces, that are left out where there is no room for all.
    """
    table = _table(title, columns, rows)
    room = console.width - _width(console, table)
    if text and room >= _TEXT_WIDTH:
        console.print(_table(title, columns, rows, text))
        return
    if room < 0:
        left = [column for column in columns if column not in spare.split()]
        table = _table(title, left, rows, compact=_width(console, _table(title, left, rows)) > console.width)
    console.print(table)
    if text or room < 0:
        _print_texts(console, rows)


def _table(title: str, columns: Sequence[str], rows: Sequence[Row], text: str = "", *, compact: bool = False) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD if compact else HEAVY_HEAD, pad_edge=not compact)
    for column in columns:
        if column in _FOLDED:
            table.add_column(column, overflow="fold")
        else:
            table.add_column(column, no_wrap=True, justify="right" if column in _RIGHT else "left")
    if text:
        table.add_column(text, overflow="fold")
    for row in rows:
        table.add_row(*(row.cells[column] for column in columns), *([escape(row.text)] if text else []))
    return table


def _width(console: Console, table: Table) -> int:
    """Columns of the terminal that it takes when nothing is broken or cut."""
    return console.measure(table, options=console.options.update(width=_ANY_WIDTH)).maximum


def _print_texts(console: Console, rows: Sequence[Row]) -> None:
    """Rows about the same that say the same share a line."""
    by_text: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row.text:
            by_text.setdefault((row.what, row.text), []).append(row.who)
    for (what, text), who in by_text.items():
        names = ", ".join(who[:_NAMED]) + (f" and {len(who) - _NAMED} more" if len(who) > _NAMED else "")
        about = f"{what} on {names}" if what else names
        console.print(f"[bold]{escape(about)}[/]", soft_wrap=True, highlight=False)
        console.print(f"  {escape(text)}", soft_wrap=True, highlight=False)
