"""`nearline history`: who said what of a model, when, and what became of it; from the ledger itself."""

import json
from datetime import UTC, datetime

import typer
from rich.console import Console
from rich.markup import escape

from protos.judging import Outcome
from publisher.history import History, SignatureState, Told, read_history
from serving.cli.layout import Row, print_table
from serving.cli.options import Bus, DataDir, Json, ModelName, load_settings
from serving.cli.session import open_bus
from serving.errors import NotFoundError
from serving.trust.files import read_trust

_COLOURS = {SignatureState.VALID: "green", SignatureState.REFUSED: "bold red"}
_WIDTH = 200


def history(name: ModelName, as_json: Json = False, bus: Bus = None, data_dir: DataDir = None) -> None:
    """Show every record of the ledger about a model: who published, rolled out, retired or blocked what, and when.

    What counts is judged with the keys of NEARLINE_TRUSTED_KEYS, as a node with that setting does.
    """
    settings = load_settings(bus=bus, data_dir=data_dir)
    trust = read_trust(settings.trusted_keys)
    with open_bus(settings) as connected:
        found = read_history(connected, settings.topics, trust, name)
    if not found.told:
        raise NotFoundError(f"history: expected a model that the ledger knows, got {name!r}")
    if as_json:
        records = [_told_json(told) for told in found.told]
        typer.echo(json.dumps({"model": name, "ledger": found.ledger, "end": found.end, "records": records}))
    else:
        _print(name, found)


def _print(name: str, found: History) -> None:
    console = Console()
    rows = [
        Row(
            {
                "offset": str(told.offset),
                "when": _when(told.appended_ms),
                "publisher": _plain(told.publisher),
                "did": told.action,
                "signature": _signature_cell(told),
                "outcome": told.outcome.value,
            },
            _text(told),
            f"offset {told.offset}",
        )
        for told in found.told
    ]
    columns = ("offset", "when", "publisher", "did", "signature", "outcome")
    print_table(console, f"{name} (topic {found.ledger}, {found.end} records)", columns, rows, text="what")


def _signature_cell(told: Told) -> str:
    colour = _COLOURS.get(told.signature, "yellow")
    signer = f" {_plain(told.signer)}" if told.signer else ""
    return f"[{colour}]{told.signature.value}[/]{signer}"


def _text(told: Told) -> str:
    parts = [told.what, f"({told.reason})" if told.reason else ""]
    if told.outcome in {Outcome.LOST, Outcome.UNUSABLE}:
        parts.append(f"— {told.message}")
    return _printable(" ".join(part for part in parts if part))


def _plain(text: str) -> str:
    return escape(_printable(text)[:_WIDTH])


def _printable(text: str) -> str:
    """Whoever may write the topic must not write to the terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _when(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _told_json(told: Told) -> dict[str, object]:
    return {
        "offset": told.offset,
        "appended_ms": told.appended_ms,
        "publisher": told.publisher,
        "action": told.action,
        "what": told.what,
        "reason": told.reason,
        "outcome": told.outcome.value,
        "message": told.message,
        "signature": told.signature.value,
        "signer": told.signer,
    }


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(history)
