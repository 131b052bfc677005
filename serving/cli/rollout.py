"""`nearline rollout`: what should serve where, at once or once enough instances are READY."""

from typing import Annotated

import typer

from protos.records import MILLION
from publisher import rollouts
from publisher.ready import Quorum, wait_until_ready
from publisher.signing import open_ledger
from serving.cli.options import Bus, DataDir, Json, ModelName, load_settings, parse_labels
from serving.cli.ready import give_up
from serving.cli.session import open_bus
from serving.cli.traffic import Reason, Scope, show_rollout
from serving.errors import InvalidRequestError


def rollout(
    name: ModelName,
    version: Annotated[int | None, typer.Option(help="Pin this version, whatever is announced later.")] = None,
    share: Annotated[
        list[str] | None,
        typer.Option(metavar="VERSION=PERCENT", help="Give a version part of the entities (`3=10%`); repeatable."),
    ] = None,
    when_ready: Annotated[
        str | None,
        typer.Option(
            metavar="all|PERCENT",
            help="Only once so many of the live instances of --version are READY: publish it with --hold.",
        ),
    ] = None,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds that --when-ready waits at most.")] = 120.0,
    scope: Scope = None,
    reason: Reason = "",
    as_json: Json = False,
    bus: Bus = None,
    data_dir: DataDir = None,
) -> None:
    """Say what serves: a pinned version, or shares of the entities. What is left stays with what serves now.

    With --when-ready: when too few of the live instances (with --scope: of those there) are READY in time, or cannot
    become so, those that are not are shown, with why; nothing changes, and the exit code is 5; 4 when none is live.
    What failed and is tried again by its node is waited for.
    """
    if (version is None) == (not share):
        raise InvalidRequestError("rollout", "either --version or --share", "both" if share else "neither")
    quorum = None if when_ready is None else Quorum.parse(when_ready)
    if quorum is not None and version is None:
        raise InvalidRequestError("--when-ready", "--version beside it", "--share")
    weights = {version: MILLION} if version is not None else _weights(share or [])
    settings = load_settings(bus=bus, data_dir=data_dir)
    where = parse_labels(scope or [], "--scope")
    with open_bus(settings) as connected:
        ledger = open_ledger(connected, settings)
        if quorum is not None and version is not None:
            topics = settings.topics
            found = wait_until_ready(ledger, connected, topics, name, version, quorum, where, timeout)
            if not found.enough:
                give_up(name, version, found, where, as_json=as_json)
        record = rollouts.share(ledger, name, weights, where, reason)
    show_rollout(name, record, as_json=as_json)


def _weights(pairs: list[str]) -> dict[int, int]:
    weights: dict[int, int] = {}
    for pair in pairs:
        name, _, text = pair.partition("=")
        try:
            version, weight = int(name), round(float(text.removesuffix("%")) * MILLION / 100)
        except (ValueError, OverflowError):
            raise InvalidRequestError("--share", "VERSION=PERCENT, such as 3=10%", repr(pair)) from None
        if version in weights:
            raise InvalidRequestError("--share", "each version once", f"version {version} twice")
        weights[version] = weight
    return weights


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(rollout)
