"""The `nearline` program: one file per group of commands, put together here."""

import sys

import typer

from serving.cli import demo, events, nodes, publish, rollouts, serve
from serving.cli.errors import EXPECTED, fail

app = typer.Typer(
    name="nearline",
    help="Near-line prediction serving with pub/sub model deployment.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
for group in (demo, serve, publish, rollouts, nodes, events):
    group.register(app)


def main() -> None:
    """Entry point of the program."""
    try:
        app()
    except EXPECTED as error:
        fail(error, as_json="--json" in sys.argv)
    except KeyboardInterrupt:
        sys.exit(130)
