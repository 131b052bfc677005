"""The file (or folder of files) that says whom an installation trusts: YAML, as docs/security.md shows it."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serving.errors import InvalidRequestError
from serving.trust.keys import read_public_keys
from serving.trust.trust import Trust, TrustedKey

SETTING = "NEARLINE_TRUSTED_KEYS"
_NAMES = ("*.yaml", "*.yml")
_MAX_BYTES = 1 << 20

Action = Literal["publish", "rollout", "retire", "retry", "block", "load"]
Text = Annotated[str, Field(min_length=1, max_length=200)]


class _Until(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    ledger: Text
    offset: int = Field(ge=0)


class _Key(BaseModel):
    """`public_key`: PEM, or the path of a .pub file, relative to the file that names it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Text
    public_key: str
    models: tuple[Text, ...] = Field(min_length=1)
    may: tuple[Action, ...] | None = Field(None, min_length=1)
    until: _Until | None = None


class _Ledger(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Text
    unsigned_below: int = Field(0, ge=0)


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    keys: tuple[_Key, ...] = ()
    ledgers: tuple[_Ledger, ...] = ()


def read_trust(path: Path | None, opened: list[Path] | None = None) -> Trust | None:
    """Read whom to trust; None when nothing is configured. InvalidRequestError names file, field and what is wrong.

    `opened`: gets every file that was to be read, also of those that turn out wrong.
    """
    if path is None:
        return None
    opened = [] if opened is None else opened
    keys: dict[str, TrustedKey] = {}
    ledgers: dict[str, int] = {}
    for file in yaml_files(path):
        opened.append(file)
        said = _parse(file)
        for key in said.keys:
            trusted = _trusted(key, file, opened)
            if other := next((k for k in keys.values() if trusted.name == k.name), keys.get(trusted.keys.id)):
                raise _wrong(file, "keys", "each name and each key once", f"{other.name} and {trusted.name}")
            keys[trusted.keys.id] = trusted
        for ledger in said.ledgers:
            if ledger.id in ledgers:
                raise _wrong(file, "ledgers", "each id once", repr(ledger.id))
            ledgers[ledger.id] = ledger.unsigned_below
    if not keys:
        raise InvalidRequestError(SETTING, "at least one key", f"none in {path}")
    return Trust(keys, ledgers, _digest(keys, ledgers))


def yaml_files(path: Path) -> list[Path]:
    """Return the file, or those of a folder that count."""
    try:
        if not path.is_dir():
            return [path]
    except OSError:  # who opens it is told why
        return [path]
    return sorted(file for name in _NAMES for file in path.glob(name))


def _parse(file: Path) -> _File:
    try:
        with file.open("rb") as opened:
            data = opened.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            raise InvalidRequestError(SETTING, f"at most {_MAX_BYTES} bytes", f"more in {file}")
        return _File.model_validate(yaml.safe_load(data) or {})
    except OSError as error:
        raise InvalidRequestError(SETTING, "a file or folder of YAML", f"{file}: {error.strerror}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise InvalidRequestError(SETTING, "YAML", f"{file}: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "file"
        raise _wrong(file, where, first["msg"].removeprefix("Input should be "), repr(first["input"])[:80]) from None


def _trusted(key: _Key, file: Path, opened: list[Path]) -> TrustedKey:
    where = f"{SETTING} {file.name}: public_key of {key.name}"
    pem = key.public_key.encode()
    if b"-----BEGIN" not in pem:
        opened.append(file.parent / key.public_key)
        try:
            pem = (file.parent / key.public_key).read_bytes()
        except OSError as error:
            raise InvalidRequestError(where, "PEM or a file of it", f"{key.public_key}: {error.strerror}") from None
    until = (key.until.ledger, key.until.offset) if key.until else None
    return TrustedKey(key.name, read_public_keys(pem, where), key.models, frozenset(key.may or ()), until)


def _digest(keys: dict[str, TrustedKey], ledgers: dict[str, int]) -> str:
    """Names are for people, and change no verdict."""
    return hashlib.sha256("\n".join(_lines(keys, ledgers)).encode()).hexdigest()


def _lines(keys: dict[str, TrustedKey], ledgers: dict[str, int]) -> Iterator[str]:
    for key_id, key in sorted(keys.items()):
        yield repr((key_id, sorted(set(key.models)), sorted(key.may), key.until))
    for ledger, below in sorted(ledgers.items()):
        yield repr((ledger, below))


def _wrong(file: Path, field: str, expected: str, actual: str) -> InvalidRequestError:
    return InvalidRequestError(f"{SETTING} {file.name}: {field}", expected, actual)
