"""`nearline publish`: one line from a trained model to every node."""

from collections.abc import Callable
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.live import Live

from publisher.announce import Announcement
from publisher.api import publish as publish_model
from publisher.description import describe
from publisher.gate.gate import Passage
from publisher.prepare import Prepared
from publisher.progress import Progress
from publisher.stored import local
from publisher.wait import wait_until_ended
from serving.cli.files import read_about_file, read_lines, read_samples
from serving.cli.gate import (
    Breaking,
    HookName,
    LatencyBudget,
    MemoryBudget,
    Metric,
    MetricsFile,
    Require,
    read_demands,
)
from serving.cli.options import Bus, DataDir, Json, ModelName, load_settings
from serving.cli.publish_options import (
    Artifacts,
    Description,
    Hold,
    Items,
    ManifestPath,
    ModelSource,
    NewVersion,
    Owner,
    Popular,
    RecipePath,
    SamplesPath,
    Tags,
    TrainingData,
)
from serving.cli.published import end, say, table
from serving.cli.rehearsed import say_rehearsed
from serving.cli.session import open_bus


def publish(
    name: ModelName,
    model: ModelSource,
    items: Items = None,
    popular: Popular = None,
    recipe: RecipePath = None,
    samples: SamplesPath = None,
    version: NewVersion = None,
    hold: Hold = None,
    manifest: ManifestPath = None,
    description: Description = "",
    owner: Owner = "",
    tag: Tags = None,
    training_data: TrainingData = None,
    latency_budget: LatencyBudget = None,
    memory_budget: MemoryBudget = None,
    require: Require = None,
    metric: Metric = None,
    metrics: MetricsFile = None,
    hook: HookName = None,
    breaking: Breaking = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Do all of it, the gate included, but store and announce nothing.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Until every live instance has ended its way.")] = False,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds that --wait waits at most.")] = 120.0,
    artifacts: Artifacts = None,
    as_json: Json = False,
    bus: Bus = None,
    data_dir: DataDir = None,
) -> None:
    """Publish a model: build its bundle, have it pass the gate, store and announce it. Every node swaps to it.

    With --wait the exit code tells: 0 when it is READY (or not wanted) everywhere, 4 when no node is live, 5 when an
    instance failed or was not ready in time. 6: it did not pass the gate, and nothing was announced. 2, too, when
    --version is another bundle already, or the same one, but held and now without --hold, or the other way round.
    """
    settings = load_settings(bus=bus, data_dir=data_dir, artifacts=artifacts)
    written = read_about_file(manifest, recipe)
    about = written.about
    demands = read_demands(latency_budget, memory_budget, require, metric, metrics, hook, breaking=breaking)
    built: list[tuple[dict[str, Any], Passage]] = []

    def look(bundle: Prepared, passage: Passage) -> None:
        """Its folder is gone once it is published."""
        built.append((describe(local(bundle.folder)) if dry_run else {}, passage))

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
            held=bool(written.hold) if hold is None else hold,
            description=description or about.description,
            owner=owner or about.owner,
            tags=(*about.tags, *(tag or ())),
            stale_after=about.stale_after,
            limits=about.limits,
            lineage=about.lineage,
            training_data=training_data,
            gate=demands,
            dry_run=dry_run,
            settings=settings,
            bus=connected,
            step=lambda doing: spinner.update(f"{doing} …"),
            passed=look,
        )
        if dry_run:
            spinner.stop()
            say_rehearsed(announced, *built[0], as_json=as_json)
            return
        if not wait:
            say(announced, built[0][1].checks, None, as_json=as_json)
            return
        spinner.stop()
        with Live(console=console, transient=True, refresh_per_second=10) as live:
            progress = wait_until_ended(
                connected, settings.topics, announced, timeout, _shower(live, announced, as_json=as_json)
            )
    say(announced, built[0][1].checks, progress, as_json=as_json)
    end(announced, progress, timeout)


def _shower(live: Live, announced: Announcement, *, as_json: bool) -> Callable[[Progress], None]:
    def show(progress: Progress) -> None:
        if not as_json:
            live.update(table(announced, progress))

    return show


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(publish)
