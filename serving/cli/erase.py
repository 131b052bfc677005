"""`nearline erase`: have what is known of an entity removed."""

import json
from typing import Annotated

import typer

from protos.commands import Erase
from protos.names import entity_key
from serving.cli.options import Bus, DataDir, Json, Yes, confirm, load_settings
from serving.cli.session import open_bus


def erase(
    entity: Annotated[str, typer.Argument(help="Whom to forget: the entity's id.")],
    yes: Yes = False,
    as_json: Json = False,
    bus: Bus = None,
    data_dir: DataDir = None,
) -> None:
    """Ask all near-line workers to remove an entity's state and predictions. Its events of before count no more."""
    key, value = Erase(entity_key(entity)).encode()
    settings = load_settings(bus=bus, data_dir=data_dir)
    with open_bus(settings) as connected:
        if not confirm(f"remove everything that is stored of {entity!r}, for good?", yes=yes, as_json=as_json):
            typer.echo("nothing was asked for")
            return
        appended = connected.append(settings.topics.commands.name, key, value)
    if as_json:
        typer.echo(json.dumps({"entity": entity, "partition": appended.partition, "offset": appended.offset}))
    else:
        typer.echo(f"asked for; the owner of shard {appended.partition} removes it")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(erase)
