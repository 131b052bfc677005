"""`nearline publish`: one line from a trained model to every node."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from publisher.announce import Announcement
from publisher.api import publish as publish_model
from publisher.description import describe
from publisher.prepare import Prepared
from publisher.stored import local
from publisher.wait import Progress, wait_until_ended
from serving.bundles.trial import TrialReport
from serving.cli.errors import NO_NODE, NOT_READY
from serving.cli.files import read_about_file, read_lines, read_metrics, read_samples
from serving.cli.instances import instance_json, state_cell, why
from serving.cli.options import Bus, DataDir, Json, ModelName, load_settings
from serving.cli.rehearsed import say_rehearsed
from serving.cli.session import open_bus


def publish(
    name: ModelName,
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="ONNX file, or joblib file of a fitted estimator.")],
    items: Annotated[
        Path | None, typer.Option(help="For a recommender: its item ids, one a line, in the order of its rows.")
    ] = None,
    popular: Annotated[
        Path | None, typer.Option(help="Item ids, most popular first, one a line. Default: the order of --items.")
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(
            help="YAML or JSON: how each input comes from events, and near-line settings; see docs/nearline.md."
        ),
    ] = None,
    samples: Annotated[
        Path | None, typer.Option(help=".npz with an array for each input, or .npy for the only one: sample rows.")
    ] = None,
    version: Annotated[int | None, typer.Option(help="Default: the newest + 1.")] = None,
    held: Annotated[bool, typer.Option("--held", help="Not to be served until a rollout names it.")] = False,
    manifest: Annotated[
        Path | None,
        typer.Option(
            help="YAML or JSON: owner, description, tags, limits, stale_after, lineage, and a recipe's inputs and "
            "nearline; see docs/publishing.md. Options win over it."
        ),
    ] = None,
    description: Annotated[str, typer.Option(help="For people.")] = "",
    owner: Annotated[str, typer.Option(help="Who answers for the model.")] = "",
    tag: Annotated[list[str] | None, typer.Option(help="A word to find it by; repeatable.")] = None,
    metric: Annotated[
        list[str] | None, typer.Option(metavar="NAME=NUMBER", help="How well it did (`recall@20=0.31`); repeatable.")
    ] = None,
    training_data: Annotated[
        Path | None, typer.Option(help="Parquet or CSV with a column for each input: for the baseline.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Do all of it, the trial included, but store and announce nothing.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Until every live instance has ended its way.")] = False,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds that --wait waits at most.")] = 120.0,
    artifacts: Annotated[str | None, typer.Option(help="fsspec URL of the artifact store.")] = None,
    as_json: Json = False,
    bus: Bus = None,
    data_dir: DataDir = None,
) -> None:
    """Publish a model: build its bundle, try it, store it, announce it. Every node loads it and swaps to it.

    With --wait the exit code tells: 0 when it is READY (or not wanted) everywhere, 4 when no node is live, 5 when an
    instance failed or was not ready in time.
    """
    settings = load_settings(bus=bus, data_dir=data_dir, artifacts=artifacts)
    written = read_about_file(manifest, recipe)
    about = written.about
    metrics = {**about.lineage.metrics, **read_metrics(metric or [])}
    built: list[tuple[dict[str, Any], TrialReport]] = []

    def look(bundle: Prepared) -> None:
        """Its folder is gone once it is published."""
        if dry_run:
            built.append((describe(local(bundle.folder)), bundle.trial))

    console = Console(stderr=True)
    with open_bus(settings) as connected, console.status("publishing") as spinner:
        announced = publish_model(
            name,
            model,
            items=read_lines(items, "--items"),
            popular=read_lines(popular, "--popular"),
            recipe=written.recipe,
            nearline=written.nearline,
            samples=read_samples(samples),
            version=version,
            held=held,
            description=description or about.description,
            owner=owner or about.owner,
            tags=(*about.tags, *(tag or ())),
            stale_after=about.stale_after,
            limits=about.limits,
            lineage=about.lineage.model_copy(update={"metrics": metrics}),
            training_data=training_data,
            dry_run=dry_run,
            settings=settings,
            bus=connected,
            step=lambda doing: spinner.update(f"{doing} …"),
            prepared=look,
        )
        if dry_run:
            spinner.stop()
            say_rehearsed(announced, *built[0], as_json=as_json)
            return
        if not wait:
            _say(announced, None, as_json=as_json)
            return
        spinner.stop()
        with Live(console=console, transient=True, refresh_per_second=10) as live:
            progress = wait_until_ended(
                connected, settings.topics, announced, timeout, _shower(live, announced, as_json=as_json)
            )
    _say(announced, progress, as_json=as_json)
    _end(announced, progress, timeout)


def _shower(live: Live, announced: Announcement, *, as_json: bool) -> Callable[[Progress], None]:
    def show(progress: Progress) -> None:
        if not as_json:
            live.update(_table(announced, progress))

    return show


def _say(announced: Announcement, progress: Progress | None, *, as_json: bool) -> None:
    if as_json:
        said: dict[str, Any] = {
            "model": announced.model,
            "version": announced.version,
            "digest": announced.digest,
            "uri": announced.uri,
            "offset": announced.offset,
        }
        if progress is not None:
            said["instances"] = [instance_json(status) for _, status in progress.rows if status]
            said["live_workers"] = len(progress.rows)
            said["seconds"] = round(progress.seconds, 3)
        typer.echo(json.dumps(said))
        return
    console = Console()
    console.print(
        f"[bold]{announced.model}[/] version [bold]{announced.version}[/] is announced "
        f"(bundle {announced.digest[:12]})",
        highlight=False,
    )
    if progress is not None and progress.rows:
        console.print(_table(announced, progress))
        if progress.ended:
            console.print(f"every live instance ended its way {progress.seconds:.2f} s after the announcement")


def _table(announced: Announcement, progress: Progress) -> Table:
    table = Table(title=f"{announced.model} version {announced.version}", title_justify="left")
    for column in ("node", "worker", "state"):
        table.add_column(column, no_wrap=True)
    table.add_column("error", overflow="fold")
    for presence, status in progress.rows:
        state, said = (state_cell(status.state), escape(why(status))) if status else ("…", "")
        table.add_row(presence.node, presence.worker, state, said)
    return table


def _end(announced: Announcement, progress: Progress, timeout: float) -> NoReturn:
    console = Console(stderr=True)
    if not progress.rows:
        console.print(
            "[bold red]error:[/] no node is live, so nobody loads it yet; run `nearline serve`", soft_wrap=True
        )
        raise typer.Exit(NO_NODE)
    if progress.failed:
        of = f"{len(progress.failed)} of {len(progress.rows)}"
        console.print(
            f"[bold red]error:[/] {of} instances failed; what served before goes on serving. Mend the model and "
            f"publish it again, or try once more with `nearline retry {announced.model}`",
            soft_wrap=True,
        )
        raise typer.Exit(NOT_READY)
    if not progress.ended:
        console.print(
            f"[bold red]error:[/] not every instance was ready within {timeout:g} s; see `nearline status`",
            soft_wrap=True,
        )
        raise typer.Exit(NOT_READY)
    raise typer.Exit(0)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(publish)
