"""An event as it travels: what an entity did, in msgpack or JSON. Pure.

    {"id": "…", "entity": "17850", "type": "purchase", "ts": 1322737680000, "fields": {"item": "85123A"}}

`id` may be missing (then a hash of the content stands in, which catches a producer's retry of the same bytes), and
so may `ts` (milliseconds since the epoch; then the append time) and `entity` (then the record's key).
"""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

import msgpack

from protos.names import InvalidNameError, entity_key
from serving.errors import InvalidRequestError

MAX_EVENT_BYTES = 64 << 10
ID_BYTES = 8

Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Event:
    """A checked event. `id`: ID_BYTES of a hash. `clamped`: its time lay in the future of its append time."""

    entity: bytes
    id: bytes
    type: str
    ts_ms: int
    fields: dict[str, Scalar] = field(default_factory=dict)
    clamped: bool = False


def encode_event(
    entity: str, fields: dict[str, Scalar], *, kind: str = "", ts_ms: int | None = None, event_id: str | None = None
) -> tuple[bytes, bytes]:
    """Return (key, value) of an event's record; InvalidNameError for an entity that cannot be one."""
    value: dict[str, Any] = {"entity": entity, "type": kind, "fields": fields}
    if ts_ms is not None:
        value["ts"] = ts_ms
    if event_id is not None:
        value["id"] = event_id
    return entity_key(entity), msgpack.packb(value)


def decode_event(key: bytes | None, value: bytes | None, appended_ms: int) -> Event:
    """Read and check a record; InvalidRequestError names the field, what was expected, and what came."""
    if not value or len(value) > MAX_EVENT_BYTES:
        raise InvalidRequestError("event", f"1 to {MAX_EVENT_BYTES} bytes", f"{len(value or b'')} bytes")
    said = _parse(value)
    entity = _entity(key, said.get("entity"))
    kind = said.get("type", "")
    if not isinstance(kind, str):
        raise InvalidRequestError("type", "a string", _shown(kind))
    ts = said.get("ts", appended_ms)
    if not isinstance(ts, int) or isinstance(ts, bool) or ts < 0:
        raise InvalidRequestError("ts", "milliseconds since the epoch", _shown(ts))
    identity = said.get("id")
    if not isinstance(identity, str | int | None) or isinstance(identity, bool):
        raise InvalidRequestError("id", "a string or an integer", _shown(identity))
    source = value if identity is None else str(identity).encode(errors="surrogatepass")
    return Event(
        entity=entity,
        id=hashlib.blake2b(source, digest_size=ID_BYTES).digest(),
        type=kind,
        ts_ms=min(ts, appended_ms),
        fields=_fields(said.get("fields", {})),
        clamped=ts > appended_ms,
    )


def _parse(value: bytes) -> dict[str, Any]:
    try:
        said = json.loads(value) if value[:1] == b"{" else msgpack.unpackb(value)
    except (ValueError, RecursionError, msgpack.exceptions.UnpackException) as error:
        raise InvalidRequestError("event", "JSON or msgpack", f"{type(error).__name__}: {error}") from error
    if not isinstance(said, dict):
        raise InvalidRequestError("event", "a map", type(said).__name__)
    return said


def _entity(key: bytes | None, said: object) -> bytes:
    try:
        text = key.decode() if key else ""
    except UnicodeDecodeError as error:
        raise InvalidRequestError("key", "an entity id in UTF-8", _shown(key)) from error
    if said is not None and not isinstance(said, str):
        raise InvalidRequestError("entity", "a string", _shown(said))
    if said is not None and said != text:
        raise InvalidRequestError("entity", f"the record's key {_shown(text)}", _shown(said))
    try:
        return entity_key(text)
    except InvalidNameError as error:
        raise InvalidRequestError("key", "an entity id of 1 to 256 bytes", _shown(key)) from error


def _fields(said: object) -> dict[str, Scalar]:
    if not isinstance(said, dict):
        raise InvalidRequestError("fields", "a map", _shown(said))
    for name, value in said.items():
        if not isinstance(name, str) or not _is_utf8(name):
            raise InvalidRequestError("fields", "names that are strings", _shown(name))
        if not isinstance(value, str | int | float | bool | None):
            raise InvalidRequestError(f"fields.{name}", "a string, a number, a boolean or nothing", _shown(value))
        if isinstance(value, float) and value - value != 0:
            raise InvalidRequestError(f"fields.{name}", "a finite number", value)
        if isinstance(value, str) and not _is_utf8(value):
            raise InvalidRequestError(f"fields.{name}", "valid UTF-8", _shown(value))
    return said


def _is_utf8(text: str) -> bool:
    """JSON may spell half of a surrogate pair, which nothing can store."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"  # noqa: PLR2004 - one line of an error
