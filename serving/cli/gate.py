"""What `nearline publish` asks of the gate."""

import importlib
import json
import math
import sys
from pathlib import Path
from typing import Annotated, cast

import typer
from pydantic import ByteSize, TypeAdapter, ValidationError

from publisher.gate.demands import Demands, Hook
from serving.errors import InvalidRequestError

LatencyBudget = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[ROWS=]MS",
        help="Milliseconds that a run of so many rows (1 if not said) may take; repeatable. Default: the manifest's.",
    ),
]
MemoryBudget = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE", help="Memory that the process of the trial may have, such as 500MiB. Default: the manifest's."
    ),
]
Require = Annotated[
    list[str] | None, typer.Option(metavar="'METRIC>=X'", help="Bound of a metric (>= <= > < ==); repeatable.")
]
Metric = Annotated[list[str] | None, typer.Option(metavar="NAME=X", help="A metric, computed elsewhere; repeatable.")]
MetricsFile = Annotated[Path | None, typer.Option(help="JSON object of metrics, computed elsewhere.")]
HookName = Annotated[
    str | None,
    typer.Option(metavar="MODULE:FUNCTION", help="Called with the bundle and its session; returns more metrics."),
]
Breaking = Annotated[
    bool, typer.Option("--breaking", help="Another signature than that of the version before is meant.")
]


def read_demands(
    latency: list[str] | None,
    memory: str | None,
    require: list[str] | None,
    metric: list[str] | None,
    metrics: Path | None,
    hook: str | None,
    *,
    breaking: bool,
) -> Demands:
    """Read the options; InvalidRequestError names the one that is wrong."""
    return Demands(
        latency_ms=dict(_latency(text) for text in latency or ()),
        memory_bytes=None if memory is None else _bytes(memory),
        require=tuple(require or ()),
        metrics={**_file(metrics), **dict(_metric(text) for text in metric or ())},
        hook=None if hook is None else _hook(hook),
        breaking=breaking,
    )


def _latency(text: str) -> tuple[int, float]:
    rows, found, milliseconds = text.rpartition("=")
    try:
        return int(rows) if found else 1, float(milliseconds.removesuffix("ms"))
    except ValueError:
        raise InvalidRequestError("--latency-budget", "MS or ROWS=MS, such as 64=20", repr(text)) from None


def _bytes(text: str) -> int:
    try:
        return int(TypeAdapter(ByteSize).validate_python(text))
    except ValidationError:
        raise InvalidRequestError("--memory-budget", "a size, such as 500MiB", repr(text)) from None


def _metric(text: str) -> tuple[str, float]:
    name, _, value = text.rpartition("=")
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not name or not math.isfinite(number):
        raise InvalidRequestError("--metric", "NAME=NUMBER, such as recall@20=0.31", repr(text))
    return name, number


def _file(path: Path | None) -> dict[str, float]:
    if path is None:
        return {}
    try:
        said = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InvalidRequestError("--metrics", "a file with a JSON object", f"{path} ({error})") from error
    wrong = not isinstance(said, dict) or [
        name for name, value in said.items() if not isinstance(value, int | float) or not math.isfinite(value)
    ]
    if wrong:
        raise InvalidRequestError("--metrics", "a JSON object of numbers", wrong if isinstance(wrong, list) else said)
    return {name: float(value) for name, value in said.items()}


def _hook(name: str) -> Hook:
    """Import it, from the working directory, too: it is the user's own code."""
    module, _, function = name.partition(":")
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        found: object = getattr(importlib.import_module(module), function)
    except Exception as error:  # whatever the module does when it is imported
        why = " ".join(f"{type(error).__name__}: {error}".split())
        raise InvalidRequestError(
            "--hook", "MODULE:FUNCTION of a module that can be imported", f"{name} ({why})"
        ) from error
    if not callable(found):
        raise InvalidRequestError("--hook", "a function", f"{name}, of type {type(found).__name__}")
    return cast("Hook", found)
