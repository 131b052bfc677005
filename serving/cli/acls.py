"""`nearline acls`: the rights that a deployment on Kafka needs, for its administrator."""

import json
import shlex
from dataclasses import asdict
from typing import Annotated

import typer

from serving.bus.kafka.acls import ROLES, Acl, acls
from serving.cli.options import Json, load_settings
from serving.errors import InvalidRequestError

Names = list[str] | None
_NAME = "NAME"
_SERVERS = "HOST:PORT"


def print_acls(
    publisher: Annotated[Names, typer.Option(metavar=_NAME, help="User that publishes. May be repeated.")] = None,
    node: Annotated[Names, typer.Option(metavar=_NAME, help="User of nodes. May be repeated.")] = None,
    event_producer: Annotated[Names, typer.Option(metavar=_NAME, help="User that appends events. As above.")] = None,
    operator: Annotated[
        Names, typer.Option(metavar=_NAME, help="User that erases and retries dead letters. As above.")
    ] = None,
    reader: Annotated[Names, typer.Option(metavar=_NAME, help="User that only looks. As above.")] = None,
    create: Annotated[bool, typer.Option(help="With the right to create the topics, for who comes first.")] = True,
    as_json: Json = False,
) -> None:
    """Print the ACLs that Kafka needs for each role, as commands of kafka-acls.sh.

    Without any user named, those of all roles with the names of the roles.
    """
    given = dict(zip(ROLES, (publisher, node, event_producer, operator, reader), strict=True))
    principals = {role: [_principal(name) for name in names] for role, names in given.items() if names}
    if not principals:
        principals = {role: [f"User:{role}"] for role in ROLES}
    settings = load_settings()
    found = list(acls(settings.topics, principals, create=create))
    if as_json:
        typer.echo(json.dumps({"acls": [asdict(acl) for acl in found]}))
        return
    servers = settings.bus.removeprefix("kafka://") if settings.bus.startswith("kafka://") else _SERVERS
    role = ""
    for acl in found:
        if acl.role != role:
            role = acl.role
            typer.echo(f"# {role}: {ROLES[role]}")
        typer.echo(_command(acl, servers))


def _principal(name: str) -> str:
    kind, found, rest = name.partition(":")
    principal = name if found and rest and kind.isalpha() else f"User:{name}"
    if not name.strip() or not name.isprintable():
        raise InvalidRequestError("principal", "a user's name", repr(name))
    return principal


def _command(acl: Acl, servers: str) -> str:
    words = ["kafka-acls.sh", "--bootstrap-server", servers, "--command-config", "admin.properties", "--add"]
    words += ["--allow-principal", acl.principal]
    for operation in acl.operations:
        words += ["--operation", operation]
    words += [f"--{acl.resource}", acl.name] + (["--resource-pattern-type", "prefixed"] if acl.prefixed else [])
    return shlex.join(words)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("acls")(print_acls)
