"""Runs targets one after the other, and ends with a table of them: `make bench`.

    python -m benchmarks.summary [TARGET ...] [--out FILE]

Each runs as a process of its own, with its usual length, and says on standard error how it goes. FILE gets their lines
of JSON. The exit code is 1 where one of them broke; a target that was not met is a result, too.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.result import say
from benchmarks.targets import TARGETS


def main() -> None:
    """Run them, and print the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("targets", nargs="*", metavar="TARGET", help=f"Some of {', '.join(TARGETS)}; default: all.")
    options.add_argument("--out", type=Path, help="File for the lines of JSON.")
    asked = options.parse_args()
    unknown = [name for name in asked.targets if name not in TARGETS]
    if unknown:
        options.error(f"TARGET: expected some of {', '.join(TARGETS)}, got {', '.join(unknown)}")
    lines: dict[str, str | None] = {}
    for name in asked.targets or TARGETS:
        say(f"--- {name}")
        lines[name] = _run(name)
        if asked.out:  # after each: who stops it has the others
            asked.out.write_text("".join(f"{line}\n" for line in lines.values() if line))
    Console(width=None if sys.stdout.isatty() else 140).print(_table(lines))
    if None in lines.values():
        raise SystemExit(1)


def _run(name: str) -> str | None:
    """Return its line; None where it broke."""
    command = [sys.executable, "-m", "benchmarks.targets", name]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        say(f"{name} ended with exit code {done.returncode}")
        return None
    lines = done.stdout.splitlines()
    return lines[-1] if lines else None


def _table(lines: dict[str, str | None]) -> Table:
    table = Table(title="targets", title_justify="left")
    for column in ("", "what", "value", "reference", "ratio", "required", "met"):
        table.add_column(
            column, overflow="fold", justify="right" if column in {"value", "reference", "ratio"} else "left"
        )
    for name, line in lines.items():
        table.add_row(name, *(_cells(json.loads(line)) if line else ("[bold red]broke; see above[/]",)))
    table.caption = "A line without a value has figures of several kinds: they are in its JSON."
    return table


def _cells(found: dict[str, Any]) -> Sequence[str]:
    def number(value: float | None) -> str:
        return "" if value is None else f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"  # noqa: PLR2004

    if "met" not in found:
        return (found.get("what") or found.get("unit", ""),)
    met = "[green]yes[/]" if found["met"] else "[bold red]no[/]"
    value, reference, ratio = (number(found[name]) for name in ("value", "reference", "ratio"))
    return (found["what"], f"{value} {found['unit']}", reference, ratio, found["required"], met)


if __name__ == "__main__":
    main()
