"""What `nearline publish --dry-run` says: the bundle that would be announced, and how its trial went."""

import json
from collections.abc import Mapping
from typing import Any

import typer
from rich.console import Console

from publisher.announce import Announcement
from serving.bundles.trial import TrialReport
from serving.cli.described import print_description


def say_rehearsed(would: Announcement, said: Mapping[str, Any], trial: TrialReport, *, as_json: bool) -> None:
    """Print it; `would` is the announcement that was not made."""
    if as_json:
        tried = {"seconds": round(trial.seconds, 3), "peak_bytes": trial.peak_bytes}
        known = {"dry_run": True, "model": would.model, "version": would.version, "digest": would.digest}
        typer.echo(json.dumps({**known, "trial": tried, "bundle": said}))
        return
    console = Console()
    print_description(console, f"{would.model} version {would.version}, not announced (dry run)", said)
    console.print(
        f"the trial passed in {trial.seconds:.2f} s, with {trial.peak_bytes / 2**20:.0f} MiB at most; nothing was "
        "stored or announced",
        highlight=False,
        soft_wrap=True,
    )
