"""Exit codes, and errors in one line: what is wrong, and what to do next. No traceback for what a user can mend."""

import json
import sys
from dataclasses import asdict
from typing import NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from protos.names import InvalidNameError
from protos.nearline.v1 import status_pb2
from publisher.gate.report import GateError
from serving.cli.gate_table import gate_table
from serving.errors import ModelError, NearlineError, UnavailableError, UserError

OK = 0
FAILED = 1
USAGE = 2
UNAVAILABLE = 3
NO_NODE = 4
NOT_READY = 5
GATE = 6
"""docs/cli.md lists them for users."""

CODES = {
    OK: "it worked",
    FAILED: "it did not work: the message says why",
    USAGE: "the command line or a setting is wrong",
    UNAVAILABLE: "the bus, the store or the artifact store cannot be reached: try again",
    NO_NODE: "no node is live, so nobody loads what was published",
    NOT_READY: "a model instance failed, was rejected, or was not ready in time",
    GATE: "a bundle did not pass the gate: nothing was announced",
}


def exit_code(error: Exception) -> int:
    """Map an error to its exit code."""
    if isinstance(error, GateError):
        return GATE
    if isinstance(error, UnavailableError):
        return UNAVAILABLE
    if isinstance(error, UserError | InvalidNameError):
        return USAGE
    return FAILED


def fail(error: Exception, *, as_json: bool = False) -> NoReturn:
    """Print the error in one line and end the program."""
    kind = f"{status_pb2.ErrorKind.Name(error.kind)}: " if isinstance(error, ModelError) else ""
    checks = error.checks if isinstance(error, GateError) else ()
    if as_json:
        gate = {"gate": [asdict(check) for check in checks]} if checks else {}
        sys.stdout.write(json.dumps({"error": f"{kind}{error}", **gate}) + "\n")
    else:
        if checks:
            Console(stderr=True).print(gate_table(checks))
        words = " ".join(f"{kind}{error}".split())
        Console(stderr=True).print(f"[bold red]error:[/] {escape(words)}", soft_wrap=True, highlight=False)
    sys.exit(exit_code(error))


def usage(error: typer.TyperException) -> Exception:
    """Turn a wrong command line into an error as ours are; Typer would draw a box of many lines."""
    context = getattr(error, "ctx", None)
    program = context.command_path if context is not None else "nearline"
    return UserError(f"{error.format_message().rstrip('.')}; see `{program} --help`")


EXPECTED = (NearlineError, InvalidNameError)
"""What `fail` is for; anything else is a defect of ours, and shows its traceback."""
