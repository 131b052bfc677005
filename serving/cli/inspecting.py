"""`nearline inspect`, `diff`: what a bundle is, and what changed from one version to another."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from publisher.description import describe, read_graph
from publisher.difference import Change, differences
from publisher.drawing import draw_graph
from publisher.signing import open_ledger
from publisher.stored import Stored, fetch, find, local
from serving.artifacts.store import FsspecArtifacts
from serving.cli.described import print_description, show_value
from serving.cli.options import Bus, DataDir, Json, ModelName, load_settings
from serving.cli.session import open_bus
from serving.errors import InvalidRequestError
from serving.settings import Settings

Artifacts = Annotated[str | None, typer.Option(help="fsspec URL of the artifact store.")]


def inspect(
    bundle: Annotated[
        str, typer.Argument(metavar="BUNDLE", help="A bundle's folder, or NAME (its newest version), or NAME@VERSION.")
    ],
    graph: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw the graph into this file, as SVG.")] = None,
    artifacts: Artifacts = None,
    as_json: Json = False,
    bus: Bus = None,
    data_dir: DataDir = None,
) -> None:
    """Tell what a bundle is: signature, recipe, lineage, sizes, operators, baseline. Nothing of it is run."""
    settings = load_settings(bus=bus, data_dir=data_dir, artifacts=artifacts)
    with _opened(settings, bundle) as (title, stored):
        said = describe(stored)
        if graph is not None:
            _write(graph, draw_graph(read_graph(stored.folder)))
    if as_json:
        typer.echo(json.dumps(said))
    else:
        print_description(Console(), title, said)


def diff(
    name: ModelName,
    before: Annotated[int, typer.Argument(metavar="V1", help="A version.")],
    after: Annotated[int, typer.Argument(metavar="V2", help="Another one.")],
    artifacts: Artifacts = None,
    as_json: Json = False,
    bus: Bus = None,
    data_dir: DataDir = None,
) -> None:
    """Tell what changed from one version to another: signature, recipe, lineage, metrics, limits, operators, sizes."""
    settings = load_settings(bus=bus, data_dir=data_dir, artifacts=artifacts)
    with (
        _opened(settings, f"{name}@{before}", announced=True) as (_, one),
        _opened(settings, f"{name}@{after}", announced=True) as (_, two),
    ):
        changes = differences(describe(one), describe(two))
    if as_json:
        listed = [{"field": change.field, "before": change.before, "after": change.after} for change in changes]
        typer.echo(json.dumps({"model": name, "before": before, "after": after, "changes": listed}))
    elif changes:
        Console().print(_table(name, before, after, changes))
    else:
        typer.echo(f"{name}: versions {before} and {after} do not differ in what a bundle says of itself")


@contextmanager
def _opened(settings: Settings, reference: str, *, announced: bool = False) -> Iterator[tuple[str, Stored]]:
    """A bundle's name and its folder, for as long as it is looked at."""
    folder = Path(reference)
    if not announced and folder.is_dir():
        yield reference, local(folder)
        return
    if not announced and ("/" in reference or reference.startswith(".")):
        raise InvalidRequestError("BUNDLE", "a folder that exists, NAME or NAME@VERSION", reference)
    with open_bus(settings) as connected:
        found = find(open_ledger(connected, settings).read(), reference)
    with tempfile.TemporaryDirectory(prefix="nearline-inspect-") as temporary:
        stored = fetch(FsspecArtifacts(settings.artifacts_url), found, Path(temporary))
        yield f"{reference.partition('@')[0]} version {found.version}", stored


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InvalidRequestError("--graph", "a file that can be written", f"{path}: {error.strerror}") from None


def _table(name: str, before: int, after: int, changes: list[Change]) -> Table:
    table = Table(title=f"{name}: version {before} to {after}", title_justify="left")
    for column in ("field", str(before), str(after)):
        table.add_column(column, overflow="fold")
    for change in changes:
        table.add_row(escape(change.field), escape(show_value(change.before)), escape(_after(change)))
    return table


def _after(change: Change) -> str:
    """The new value, and by how much a number grew."""
    shown = show_value(change.after)
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in (change.before, change.after)):
        return f"{shown} ({change.after - change.before:+,.6g})"
    return shown


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (inspect, diff):
        app.command()(command)
