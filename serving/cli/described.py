"""A bundle's description as sections on the terminal."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

_UNSAID: tuple[Any, ...] = (None, "", [], {})


def print_description(console: Console, title: str, said: Mapping[str, Any]) -> None:
    """Print every section that says something, a line for each field; sketches as tables."""
    console.print(f"[bold]{escape(title)}[/]", highlight=False)
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for section, value in said.items():
        if section == "baseline":
            continue
        for at, (name, shown) in enumerate(_lines(value)):
            label = f"{name}: " if name else ""
            table.add_row("" if at else section.replace("_", " "), escape(f"{label}{shown}"))
    console.print(table, highlight=False)
    if said["baseline"]:
        _print_baseline(console, said["baseline"])


def show_value(value: Any) -> str:
    """Write a value in a line."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {show_value(one)}" for name, one in value.items() if one not in _UNSAID)
    if isinstance(value, list):
        return ", ".join(map(show_value, value))
    return "" if value is None else str(value)


def _lines(value: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(value, Mapping):
        if value not in _UNSAID:
            yield "", show_value(value)
        return
    for name, one in value.items():
        if one not in _UNSAID and (shown := show_value(one)):
            yield name, shown


def _print_baseline(console: Console, said: Mapping[str, Any]) -> None:
    table = Table(title=f"baseline: {said['rows']:,} rows of the {said['source']}", title_justify="left")
    table.add_column("attribute", overflow="fold")
    for column in ("values", "missing"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("what they are", overflow="fold")
    for name, one in said["attributes"].items():
        table.add_row(escape(name), f"{one['count']:,}", f"{100 * one['missing_share']:.3g} %", escape(_sketched(one)))
    console.print(table)


def _sketched(one: Mapping[str, Any]) -> str:
    if one["kind"] == "categories":
        frequent = ", ".join(f"{word} ({count:,})" for word, count in one["frequent"].items())
        return f"about {one['distinct']:,} different: {frequent}" if frequent else "none"
    quantiles = one["quantiles"]
    if not quantiles:
        return "none"
    low, middle, high = (f"{quantiles[rank]:.4g}" for rank in ("0.05", "0.5", "0.95"))
    return f"{quantiles['0']:.4g} to {quantiles['1']:.4g}; 5 % {low}, median {middle}, 95 % {high}"
