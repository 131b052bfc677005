"""A record that could not be used, as it is kept on `dead-letters`: msgpack, so that any tool can read it.

Beside letters the topic holds marks, which say of a letter that its record was appended once more.
"""

from dataclasses import asdict, dataclass
from typing import Any

import msgpack

KEPT_BYTES = 64 << 10
"""A letter keeps that much of a record: an oversized one must not become two."""
KEPT_KEY_BYTES = 1 << 10
"""The key is kept twice, in the letter and as its key."""


class InvalidDeadLetterError(ValueError):
    """A record of `dead-letters` is neither a letter nor a mark."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Where it stood, why it could not be used, and the bytes as they were; `truncated`: the first of them."""

    topic: str
    partition: int
    offset: int
    reason: str
    key: bytes | None
    value: bytes | None
    truncated: bool = False

    @classmethod
    def of(
        cls, topic: str, partition: int, offset: int, reason: str, key: bytes | None, value: bytes | None
    ) -> "DeadLetter":
        """Keep as much of a record as a letter may."""
        kept_key = key[:KEPT_KEY_BYTES] if key else key
        kept_value = value[:KEPT_BYTES] if value else value
        return cls(topic, partition, offset, reason, kept_key, kept_value, (kept_key, kept_value) != (key, value))

    def encode(self) -> bytes:
        """Return the record's value."""
        packed: bytes = msgpack.packb(asdict(self))
        return packed

    @classmethod
    def decode(cls, data: bytes) -> "DeadLetter":
        """Read back what `encode` wrote; InvalidDeadLetterError for anything else, a mark too."""
        letter = decode_entry(data)
        if not isinstance(letter, DeadLetter):
            raise InvalidDeadLetterError("record: expected a dead letter, got the mark of one")
        return letter


@dataclass(frozen=True, slots=True)
class Retried:
    """The mark of a letter, by the letter's own place on `dead-letters`."""

    partition: int
    offset: int

    def encode(self) -> bytes:
        """Return the record's value; its key is the letter's."""
        packed: bytes = msgpack.packb({"retried": [self.partition, self.offset]})
        return packed


_TEXT, _NUMBER, _BYTES = (str, "a string"), (int, "an integer"), (bytes | None, "bytes or nothing")
_FIELDS: dict[str, tuple[Any, str]] = {
    "topic": _TEXT,
    "partition": _NUMBER,
    "offset": _NUMBER,
    "reason": _TEXT,
    "key": _BYTES,
    "value": _BYTES,
}


def decode_entry(data: bytes | None) -> DeadLetter | Retried:
    """Read a record of `dead-letters`; InvalidDeadLetterError. Fields that a newer release added are ignored."""
    try:
        said = msgpack.unpackb(data or b"")
    except (ValueError, RecursionError, msgpack.exceptions.UnpackException) as error:
        raise InvalidDeadLetterError(f"record: expected msgpack, got {type(error).__name__}: {error}") from error
    if not isinstance(said, dict):
        raise InvalidDeadLetterError(f"record: expected a map, got {type(said).__name__}")
    if "retried" in said:
        return _mark(said["retried"])
    for name, (kind, expected) in _FIELDS.items():
        if not isinstance(said.get(name), kind):
            raise InvalidDeadLetterError(f"{name}: expected {expected}, got {type(said.get(name)).__name__}")
    letter: dict[str, Any] = {name: said.get(name) for name in _FIELDS}
    return DeadLetter(**letter, truncated=bool(said.get("truncated", _may_be_cut(letter))))


def _may_be_cut(letter: dict[str, Any]) -> bool:
    """Tell of letters from before they said so themselves."""
    return len(letter["key"] or b"") >= KEPT_KEY_BYTES or len(letter["value"] or b"") >= KEPT_BYTES


def _mark(said: object) -> Retried:
    match said:
        case [int(partition), int(offset)]:
            return Retried(partition, offset)
    raise InvalidDeadLetterError(f"retried: expected [partition, offset], got {said!r:.80}")
