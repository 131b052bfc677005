"""Options that several commands share; each of them overrides the setting of that name."""

import math
import os
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from pydantic_settings import SettingsError

from serving.errors import InvalidRequestError
from serving.settings import Settings

DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Data directory. [env: NEARLINE_DATA_DIR]")]
Bus = Annotated[str | None, typer.Option("--bus", help="`embedded` or kafka://host:port. [env: NEARLINE_BUS]")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output, for programs.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask first.")]
ModelName = Annotated[str, typer.Argument(metavar="NAME", help="The model's name.")]


_CLOSE = 0.9


def load_settings(**options: object) -> Settings:
    """Return the settings of this command: options, else NEARLINE_* variables, else defaults."""
    _check_names()
    given = {name: value for name, value in options.items() if value is not None}
    try:
        return Settings.model_validate({**Settings().model_dump(), **given})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0]) if first["loc"] else "settings"
        option = "label" if name == "labels" else name.replace("_", "-")
        field = f"--{option}" if name in given else f"NEARLINE_{name.upper()}"
        expected = first["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
        raise InvalidRequestError(field, expected, repr(first["input"])) from None
    except SettingsError as error:
        name = next((name for name in Settings.model_fields if f'"{name}"' in str(error)), "*")
        variable = f"NEARLINE_{name.upper()}"
        raise InvalidRequestError(variable, "JSON", repr(os.environ.get(variable, ""))) from None


def _check_names() -> None:
    """Refuse a mistyped variable: it would be ignored, and the command would act on something else.

    Only what is close to a setting's name counts: clusters add variables of their own.
    """
    known = [f"NEARLINE_{name.upper()}" for name in Settings.model_fields]
    for name in os.environ:
        if name.startswith("NEARLINE_") and name not in known:
            close = get_close_matches(name, known, 1, _CLOSE)
            if close:
                raise InvalidRequestError("environment", close[0], name)


def confirm(question: str, *, yes: bool, as_json: bool) -> bool:
    """Ask a person, unless the answer was given."""
    if as_json and not yes:
        raise InvalidRequestError("--json", "--yes beside it, as nobody can be asked", "no --yes")
    return yes or typer.confirm(question)


def parse_labels(pairs: list[str], option: str) -> dict[str, str]:
    """Read `name=value` pairs."""
    labels = {}
    for pair in pairs:
        name, found, value = pair.partition("=")
        if not (name and found and value):
            raise InvalidRequestError(option, "name=value", repr(pair))
        if name in labels:
            raise InvalidRequestError(option, "each name once", f"{name!r} twice")
        labels[name] = value
    return labels


def parse_scalars(pairs: list[str], option: str) -> dict[str, int | float | str]:
    """Read `name=text` and `name:=number` pairs: a stock code may consist of digits."""
    values: dict[str, int | float | str] = {}
    for name, value in parse_labels(pairs, option).items():
        if name.endswith(":") and name != ":":
            values[name[:-1]] = _number(value, f"{option} {name[:-1]}")
        else:
            values[name] = value
    return values


def _number(text: str, field: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InvalidRequestError(field, "a number", repr(text))
    return number
