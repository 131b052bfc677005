"""`nearline keys`: the key pairs of publishers, and whom this installation trusts."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from protos.names import check_label
from serving.cli.layout import Row, print_table
from serving.cli.options import DataDir, Json, load_settings
from serving.settings import Settings
from serving.trust.files import read_trust
from serving.trust.keys import PRIVATE, PUBLIC, create_keys, read_public_keys
from serving.trust.trust import Trust, TrustedKey

Folder = Annotated[
    Path | None,
    typer.Option(help="Where key files are kept. Default: `keys` in the data directory.", show_default=False),
]

keys = typer.Typer(
    help="Make and list keys: publishers sign with them, nodes trust them.", no_args_is_help=True, add_completion=False
)


@keys.command()
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the key: a person, a team, a pipeline.")],
    folder: Folder = None,
    passphrase: Annotated[
        bool, typer.Option("--passphrase", help="Encrypt it; asks for the passphrase unless a variable holds one.")
    ] = False,
    as_json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Make a key: NAME.key stays secret with the publisher, NAME.pub is for whoever runs the nodes."""
    check_label(name)
    settings = load_settings(data_dir=data_dir)
    where = _folder(settings, folder)
    secret = settings.signing_passphrase.get_secret_value()
    if passphrase and not secret:
        secret = typer.prompt("passphrase", hide_input=True, confirmation_prompt=True, err=True)
    made = create_keys(where, name, secret if passphrase else "")
    private, public = where / f"{name}{PRIVATE}", where / f"{name}{PUBLIC}"
    if as_json:
        said = {"name": name, "fingerprint": made.id, "private": str(private), "public": str(public)}
        typer.echo(json.dumps(said))
        return
    typer.echo(f"fingerprint  {made.id}")
    typer.echo(f"keep secret  {private} (publish with NEARLINE_SIGNING_KEY={private})")
    typer.echo(f"hand out     {public} (nodes name it in NEARLINE_TRUSTED_KEYS)")


@keys.command(name="list")
def list_keys(folder: Folder = None, as_json: Json = False, data_dir: DataDir = None) -> None:
    """List the key files of this machine, and the keys that NEARLINE_TRUSTED_KEYS says are trusted."""
    settings = load_settings(data_dir=data_dir)
    where = _folder(settings, folder)
    files = [
        {
            "name": path.stem,
            "fingerprint": read_public_keys(path.read_bytes(), str(path)).id,
            "public": str(path),
            "private": str(path.with_suffix(PRIVATE)) if path.with_suffix(PRIVATE).exists() else None,
        }
        for path in sorted(where.glob(f"*{PUBLIC}"))
    ]
    trust = read_trust(settings.trusted_keys)
    if as_json:
        trusted = [_trusted_json(key) for key in _by_name(trust)]
        typer.echo(json.dumps({"keys": files, "trusted": trusted, "accepts_unsigned": trust is None}))
        return
    console = Console()
    if files:
        rows = [_row(str(f["name"]), str(f["fingerprint"]), "yes" if f["private"] else "no") for f in files]
        print_table(console, f"key files in {where}", ("name", "private"), rows, text="fingerprint")
    else:
        typer.echo(f"no key in {where}; make one with `nearline keys new NAME`")
    if trust is None:
        typer.echo("no key is trusted: unsigned statements are accepted; see docs/security.md")
        return
    rows = [
        _row(key.name, key.keys.id, models=", ".join(key.models), may=", ".join(sorted(key.may)) or "everything")
        for key in _by_name(trust)
    ]
    print_table(console, "trusted", ("name", "models", "may"), rows, text="fingerprint")


def _folder(settings: Settings, folder: Path | None) -> Path:
    return folder or settings.data_dir / "keys"


def _by_name(trust: Trust | None) -> list[TrustedKey]:
    return sorted(trust.keys.values(), key=lambda key: key.name) if trust else []


def _trusted_json(key: TrustedKey) -> dict[str, object]:
    until = {"ledger": key.until[0], "offset": key.until[1]} if key.until else None
    return {
        "name": key.name,
        "fingerprint": key.keys.id,
        "models": list(key.models),
        "may": sorted(key.may) or None,
        "until": until,
    }


def _row(name: str, fingerprint: str, private: str = "", models: str = "", may: str = "") -> Row:
    return Row({"name": escape(name), "private": private, "models": escape(models), "may": may}, fingerprint, name)


def register(app: typer.Typer) -> None:
    """Add the group of commands."""
    app.add_typer(keys, name="keys")
