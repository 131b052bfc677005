"""The `nearline` program: one file per group of commands, put together here."""

import sys

import typer

from serving.cli import (
    acls,
    bench,
    blocking,
    dead_letters,
    demo,
    erase,
    events,
    history,
    inspecting,
    keys,
    loads,
    models,
    nodes,
    publish,
    rollout,
    rollouts,
    serve,
    snapshots,
)
from serving.cli.errors import EXPECTED, USAGE, fail, usage

app = typer.Typer(
    name="nearline",
    help="Near-line prediction serving with pub/sub model deployment.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
_GROUPS = (
    demo,
    serve,
    publish,
    inspecting,
    models,
    rollout,
    rollouts,
    nodes,
    history,
    keys,
    events,
    dead_letters,
    erase,
    blocking,
    loads,
    snapshots,
    acls,
    bench,
)
for group in _GROUPS:
    group.register(app)


def main() -> None:
    """Entry point of the program."""
    as_json = "--json" in sys.argv
    try:
        sys.exit(app(standalone_mode=False, prog_name="nearline"))
    except typer.TyperException as error:
        if not error.format_message():  # the help was asked for by giving nothing, and was printed
            sys.exit(USAGE)
        fail(usage(error), as_json=as_json)
    except EXPECTED as error:
        fail(error, as_json=as_json)
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(130)
