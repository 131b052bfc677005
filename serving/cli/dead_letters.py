"""`nearline dead-letters`: what could not be used, and another try once the reason is mended."""

import json
from collections import Counter
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from serving.cli.instances import clock
from serving.cli.layout import Row, print_table
from serving.cli.letters import Entry, Selection, Wanted, retry_letters, select_letters
from serving.cli.options import Bus, DataDir, Json, Yes, confirm, load_settings
from serving.cli.session import open_bus
from serving.node.mapping import event_mapping

_OBSTACLES = {
    "retried": "appended once more already",
    "truncated": "longer than a letter keeps",
    "empty": "without key and value",
    "control topic": "of a topic that is not for events or commands",
    "erased": "of an entity that was erased after it, and would come back",
}


def dead_letters(
    topic: Annotated[str | None, typer.Option(help="Only records of this topic.")] = None,
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Only where the reason contains this.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the newest so many. Default: all.")] = None,
    again: Annotated[bool, typer.Option("--retry", help="Append them once more to the topics they came from.")] = False,
    yes: Yes = False,
    as_json: Json = False,
    bus: Bus = None,
    data_dir: DataDir = None,
) -> None:
    """List the records that could not be used, the newest last, or have them tried once more."""
    settings = load_settings(bus=bus, data_dir=data_dir)
    with open_bus(settings) as connected:
        found = select_letters(connected, settings.topics, Wanted(topic, reason, limit), event_mapping(settings))
        if not as_json:
            _show(found, retrying=again)
        places, count = [entry.place for entry in found.retriable], 0
        if again and places and confirm(f"append {_records(len(places))} once more?", yes=yes, as_json=as_json):
            count = retry_letters(connected, settings.topics, places)
    if as_json:
        said = {"letters": [_entry_json(entry) for entry in found.entries], "unreadable": found.unreadable}
        typer.echo(json.dumps(said | ({"appended": count} if again else {})))
    elif again:
        typer.echo(f"appended {_records(count)} once more")


def _show(found: Selection, *, retrying: bool) -> None:
    if retrying:
        obstacles = Counter(entry.obstacle for entry in found.entries if entry.obstacle)
        for obstacle, count in sorted(obstacles.items()):
            typer.echo(f"left out: {_records(count)} {_OBSTACLES[obstacle]}")
    elif found.entries:
        _print(found.entries)
    else:
        typer.echo("no dead letter")
    if found.unreadable:
        typer.echo(f"left out: {_records(found.unreadable)} of the topic itself that cannot be read")


def _records(count: int) -> str:
    return f"{count} record" if count == 1 else f"{count} records"


def _print(entries: list[Entry]) -> None:
    columns = ("when", "topic", "partition", "offset", "key", "size", "retry")
    title = "dead letters (retry: what stands against one)"
    print_table(Console(), title, columns, [_row(entry) for entry in entries], text="reason", spare="size when")


def _row(entry: Entry) -> Row:
    letter = entry.letter
    cells = {
        "when": clock(entry.at_ms),
        "topic": escape(_plain(letter.topic)),
        "partition": str(letter.partition),
        "offset": str(letter.offset),
        "key": "" if letter.key is None else escape(_plain(_text(letter.key))),
        "size": "" if entry.size is None else str(entry.size),
        "retry": entry.obstacle,
    }
    return Row(cells, _plain(letter.reason), f"{letter.partition}@{letter.offset}", _plain(letter.topic))


def _entry_json(entry: Entry) -> dict[str, object]:
    letter = entry.letter
    return {
        "at_ms": entry.at_ms,
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "key": None if letter.key is None else _text(letter.key),
        "reason": letter.reason,
        "size": entry.size,
        "obstacle": entry.obstacle,
    }


def _text(key: bytes) -> str:
    return key.decode(errors="backslashreplace")


def _plain(text: str) -> str:
    """What came from outside, without sequences that a terminal would obey."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(dead_letters)
