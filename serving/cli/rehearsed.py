"""What `nearline publish --dry-run` says: the bundle that would be announced, and how its trial went."""

import json
from collections.abc import Mapping
from typing import Any

import typer
from rich.console import Console

from publisher.announce import Announcement
from publisher.gate.gate import Passage
from serving.cli.described import print_description
from serving.cli.gate_table import gate_json, gate_table


def say_rehearsed(would: Announcement, said: Mapping[str, Any], passage: Passage, *, as_json: bool) -> None:
    """Print it; `would` is the announcement that was not made."""
    trial = passage.trial
    if as_json:
        tried = {"seconds": round(trial.seconds, 3), "peak_bytes": trial.peak_bytes}
        known = {"dry_run": True, "model": would.model, "version": would.version, "digest": would.digest}
        typer.echo(json.dumps({**known, "trial": tried, "gate": gate_json(passage.checks), "bundle": said}))
        return
    console = Console()
    print_description(console, f"{would.model} version {would.version}, not announced (dry run)", said)
    console.print(gate_table(passage.checks))
    console.print(
        f"the trial passed in {trial.seconds:.2f} s, with {trial.peak_bytes / 2**20:.0f} MiB at most; nothing was "
        "stored or announced",
        highlight=False,
        soft_wrap=True,
    )
