"""Predictions that were computed elsewhere: the rows of a load's file, and which loads matter. Pure.

A file is msgpack, row after row: [entity id in UTF-8, encoded RecommendResponse without a source].
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgpack
from google.protobuf.message import DecodeError

from protos.names import MAX_ENTITY_BYTES
from protos.nearline.v1 import recommender_pb2
from protos.records import BulkLoad

ROWS_FILE = "rows.msgpack"
MAX_MESSAGE_BYTES = 1 << 20


class BadRowError(ValueError):
    """A row is not what the format says; the message names field, expected and actual."""


class Row(NamedTuple):
    """A prediction for an entity, as it is stored, and when it was computed."""

    entity: bytes
    message: bytes
    computed_at_ms: int


def encode_row(entity: bytes, message: bytes) -> bytes:
    """Return a row of the file."""
    packed: bytes = msgpack.packb((entity, message))
    return packed


def decode_row(raw: Any, model: str, version: int) -> Row:
    """Check what msgpack made of a row: an answer of this version for an entity; BadRowError."""
    if not isinstance(raw, tuple | list) or len(raw) != 2 or not all(isinstance(part, bytes) for part in raw):  # noqa: PLR2004
        raise BadRowError(f"row: expected two byte strings, got {raw!r:.100}")
    entity, message = raw
    if not 0 < len(entity) <= MAX_ENTITY_BYTES or len(message) > MAX_MESSAGE_BYTES:
        sizes = f"{len(entity)} and {len(message)}"
        raise BadRowError(f"row: expected at most {MAX_ENTITY_BYTES} and {MAX_MESSAGE_BYTES} bytes, got {sizes}")
    try:
        said = recommender_pb2.RecommendResponse.FromString(message)
    except DecodeError as error:
        raise BadRowError(f"prediction: expected a RecommendResponse, got {error}") from error
    if (said.model, said.version) != (model, version):
        raise BadRowError(f"prediction: expected {model} version {version}, got {said.model[:80]!r} {said.version}")
    if not said.item_ids or len(said.item_ids) != len(said.scores) or said.computed_at_ms <= 0:
        sizes = f"{len(said.item_ids)} and {len(said.scores)} at {said.computed_at_ms} ms"
        raise BadRowError(f"prediction: expected as many scores as items, at least one, and a time, got {sizes}")
    return Row(entity, message, said.computed_at_ms)


def previous(loads: Mapping[int, BulkLoad], shown: int) -> int:
    """Number of the load before the one that is to be seen; 0 = none."""
    return max((number for number in loads if number < shown), default=0)


def wanted(loads: Mapping[int, BulkLoad], shown: int) -> list[BulkLoad]:
    """Loads whose predictions have to be there: the one to be seen, and the newest, which may be seen next."""
    numbers = dict.fromkeys((shown, max(loads, default=0)))
    return [loads[number] for number in numbers if number in loads and number >= shown]


def kept(loads: Mapping[int, BulkLoad], shown: int) -> list[BulkLoad]:
    """Loads whose predictions must not be dropped: those that are wanted, and the one before, for a way back."""
    before = previous(loads, shown)
    return wanted(loads, shown) + ([loads[before]] if before and shown else [])
