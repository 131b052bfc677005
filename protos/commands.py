"""What is asked of whoever owns an entity's shard, as it travels on `commands`: msgpack, by the entity's key. Pure.

    key: the entity's id in UTF-8    value: {"kind": "recompute", "model": "shop", "version": 7} or {"kind": "erase"}

Fields that a newer release added are ignored; a kind that is not known is an error.
"""

from dataclasses import dataclass
from typing import Any

import msgpack

from protos.names import InvalidNameError, check_model_name, check_version, entity_key

MAX_COMMAND_BYTES = 4096


class InvalidCommandError(ValueError):
    """A record is no command; the message names field, expected and actual."""

    def __init__(self, field: str, expected: str, actual: object) -> None:
        shown = repr(actual)
        super().__init__(f"{field}: expected {expected}, got {shown if len(shown) <= _SHOWN else shown[:_SHOWN] + '…'}")


@dataclass(frozen=True, slots=True)
class Recompute:
    """Predict for an entity with one version of a model, from its state, after a miss.

    `expired`: there was a prediction, and what is missing is one as of now: windows and ages have moved on.
    """

    entity: bytes
    model: str
    version: int
    expired: bool = False

    def encode(self) -> tuple[bytes, bytes]:
        """Return the record's key and value."""
        said = {"kind": "recompute", "model": self.model, "version": self.version}
        return self.entity, _packed({**said, "expired": True} if self.expired else said)


@dataclass(frozen=True, slots=True)
class Erase:
    """Remove what is stored of an entity, for good."""

    entity: bytes

    def encode(self) -> tuple[bytes, bytes]:
        """Return the record's key and value."""
        return self.entity, _packed({"kind": "erase"})


Command = Recompute | Erase


def decode_command(key: bytes | None, value: bytes | None) -> Command:
    """Read and check a record; InvalidCommandError."""
    if not value or len(value) > MAX_COMMAND_BYTES:
        raise InvalidCommandError("command", f"1 to {MAX_COMMAND_BYTES} bytes", len(value or b""))
    try:
        said = msgpack.unpackb(value)
    except (ValueError, RecursionError, msgpack.exceptions.UnpackException) as error:
        raise InvalidCommandError("command", "msgpack", value) from error
    if not isinstance(said, dict):
        raise InvalidCommandError("command", "a map", said)
    entity, kind = _entity(key), said.get("kind")
    if kind == "erase":
        return Erase(entity)
    if kind == "recompute":
        expired = said.get("expired", False)
        if not isinstance(expired, bool):
            raise InvalidCommandError("expired", "true or false", expired)
        return Recompute(entity, _model(said.get("model")), _version(said.get("version")), expired)
    raise InvalidCommandError("kind", "`recompute` or `erase`", kind)


_SHOWN = 80


def _packed(fields: dict[str, Any]) -> bytes:
    packed: bytes = msgpack.packb(fields)
    return packed


def _entity(key: bytes | None) -> bytes:
    try:
        return entity_key((key or b"").decode())
    except (UnicodeDecodeError, InvalidNameError) as error:
        raise InvalidCommandError("key", "an entity id, 1 to 256 bytes of UTF-8", key) from error


def _model(said: object) -> str:
    try:
        if isinstance(said, str):
            return check_model_name(said)
    except InvalidNameError as error:
        raise InvalidCommandError("model", "a model's name", said) from error
    raise InvalidCommandError("model", "a model's name", said)


def _version(said: object) -> int:
    try:
        if isinstance(said, int) and not isinstance(said, bool):
            return check_version(said)
    except InvalidNameError as error:
        raise InvalidCommandError("version", "a positive integer below 2**63", said) from error
    raise InvalidCommandError("version", "a positive integer below 2**63", said)
