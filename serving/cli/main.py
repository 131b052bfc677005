"""The `nearline` program: one file per group of commands, put together here.

Only the file of the command that was asked for is imported: all of them take a second and a half.
"""

import sys
from collections.abc import Iterable
from importlib import import_module

import typer

from serving.cli.errors import EXPECTED, USAGE, fail, usage

FILES = {
    "demo": ("demo",),
    "serve": ("serve",),
    "publish": ("publish",),
    "inspecting": ("inspect", "diff"),
    "models": ("models",),
    "rollouts": ("rollout", "rollback", "unpin", "retire", "retry"),
    "nodes": ("status", "nodes"),
    "history": ("history",),
    "keys": ("keys",),
    "events": ("event", "recommend"),
    "dead_letters": ("dead-letters",),
    "erase": ("erase",),
    "blocking": ("block", "blocked"),
    "loads": ("load", "loads"),
    "snapshots": ("snapshot", "snapshots"),
    "acls": ("acls",),
    "bench": ("bench",),
}
"""Files, in the order of the help, and the commands that each of them adds."""


def program(command: str | None = None) -> typer.Typer:
    """Return the program with the file of one command; with every file where none of that name is known."""
    app = typer.Typer(
        name="nearline",
        help="Near-line prediction serving with pub/sub model deployment.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
    )
    app.callback()(_group)
    for file in _files(command):
        import_module(f"serving.cli.{file}").register(app)
    return app


def _group() -> None:
    """Keep one command a command among others: Typer would make a program of it that takes no command's name."""


def _files(command: str | None) -> Iterable[str]:
    of_command = [file for file, commands in FILES.items() if command in commands]
    return of_command or FILES


def main() -> None:
    """Entry point of the program."""
    as_json = "--json" in sys.argv
    try:
        sys.exit(program(next(iter(sys.argv[1:]), None))(standalone_mode=False, prog_name="nearline"))
    except typer.TyperException as error:
        if not error.format_message():  # the help was asked for by giving nothing, and was printed
            sys.exit(USAGE)
        fail(usage(error), as_json=as_json)
    except EXPECTED as error:
        fail(error, as_json=as_json)
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(130)
