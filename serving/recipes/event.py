"""An event as it travels: what an entity did, in msgpack or JSON. Pure.

    {"id": "…", "entity": "17850", "type": "purchase", "ts": 1322737680000, "fields": {"item": "85123A"}}

`id` may be missing (then a hash of the content stands in, which catches a producer's retry of the same bytes), and
so may `ts` (milliseconds since the epoch; then the append time) and `entity` (then the record's key). A topic that
says it otherwise is read with an EventMapping.
"""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import msgpack
import orjson
from xxhash import xxh3_64_digest

from protos.names import MAX_ENTITY_BYTES, InvalidNameError, entity_key
from serving.errors import InvalidRequestError
from serving.recipes.mapping import EventMapping
from serving.recipes.scalars import Scalar

__all__ = ["ID_BYTES", "MAX_EVENT_BYTES", "Event", "Scalar", "decode_event", "encode_event", "entities_of", "id_hash"]

MAX_EVENT_BYTES = 64 << 10
ID_BYTES = 8

_unpack = msgpack.unpackb
_NOTHING: dict[str, Scalar] = {}


class Event(NamedTuple):
    """A checked event. `id`: ID_BYTES of a hash. `clamped`: its time lay in the future of its append time."""

    entity: bytes
    id: bytes
    type: str
    ts_ms: int
    fields: dict[str, Scalar]
    clamped: bool = False


_made: Callable[[type[Event], tuple[object, ...]], Event] = tuple.__new__
"""The named tuple's own constructor takes twice as long."""


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


def id_hash(identity: str | int) -> bytes:
    """Return the id of an event that said it: ID_BYTES."""
    return xxh3_64_digest(str(identity).encode(errors="surrogatepass"))


def decode_event(
    key: bytes | None, value: bytes | None, appended_ms: int, mapping: EventMapping | None = None
) -> Event:
    """Read and check a record; InvalidRequestError names the field, what was expected, and what came.

    `mapping`: where the record says what; None for the format above.
    """
    if not value or len(value) > MAX_EVENT_BYTES:
        raise InvalidRequestError("event", f"1 to {MAX_EVENT_BYTES} bytes", f"{len(value or b'')} bytes")
    said = _parse(value)
    if mapping is not None:
        said = mapping.read(said)
        if mapping.entity is not None and not mapping.keyed and "entity" in said:
            key = str(said["entity"]).encode(errors="surrogatepass")
    entity = _entity(key, said.get("entity"))
    kind = said.get("type", "")
    if type(kind) is not str:
        raise InvalidRequestError("type", "a string", _shown(kind))
    ts = said.get("ts", appended_ms)
    if type(ts) is not int or ts < 0:
        raise InvalidRequestError("ts", "milliseconds since the epoch", _shown(ts))
    identity = said.get("id")
    if identity is None:
        digest = xxh3_64_digest(value)
    elif type(identity) is str or type(identity) is int:
        digest = id_hash(identity)
    else:
        raise InvalidRequestError("id", "a string or an integer", _shown(identity))
    fields = said.get("fields", _NOTHING)
    _check_fields(fields)
    clamped = ts > appended_ms
    return _made(Event, (entity, digest, kind, appended_ms if clamped else ts, fields, clamped))


def entities_of(key: bytes | None, value: bytes | None, mapping: EventMapping | None = None) -> frozenset[bytes]:
    """Return whom a record may be about, though it may be no event: who its key is, and whom its body names."""
    found = {key} if key else set()
    if mapping is not None and mapping.entity is not None and not mapping.keyed and value:
        try:
            said = mapping.read_entity(_parse(value))
        except InvalidRequestError:
            said = None
        if said is not None:
            found.add(said.encode(errors="surrogatepass"))
    return frozenset(found)


def _parse(value: bytes) -> dict[str, Any]:
    try:
        said = _json(value) if value[:1] == b"{" else _unpack(value)
    except (ValueError, RecursionError, msgpack.exceptions.UnpackException) as error:
        raise InvalidRequestError("event", "JSON or msgpack", f"{type(error).__name__}: {error}") from error
    if type(said) is not dict:
        raise InvalidRequestError("event", "a map", type(said).__name__)
    return said


def _json(value: bytes) -> Any:
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        # It refuses NaN and half of a surrogate pair, without saying where: let the checks below name the field.
        return json.loads(value)


def _entity(key: bytes | None, said: object) -> bytes:
    # The usual case: valid, since it is what a string encodes to.
    if key and type(said) is str and said.isascii() and said.encode() == key and len(key) <= MAX_ENTITY_BYTES:
        return key
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


def _check_fields(said: object) -> None:
    if type(said) is not dict:
        raise InvalidRequestError("fields", "a map", _shown(said))
    for name, value in said.items():
        if type(name) is not str or not (name.isascii() or _is_utf8(name)):
            raise InvalidRequestError("fields", "names that are strings", _shown(name))
        kind = type(value)
        if kind is str:
            if not (value.isascii() or _is_utf8(value)):
                raise InvalidRequestError(f"fields.{name}", "valid UTF-8", _shown(value))
        elif kind is float:
            if value - value != 0:
                raise InvalidRequestError(f"fields.{name}", "a finite number", value)
        elif kind is not int and kind is not bool and value is not None:
            raise InvalidRequestError(f"fields.{name}", "a string, a number, a boolean or nothing", _shown(value))


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
