"""The catalogue: what the rows that a recommender speaks of are, and which of them are popular."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgpack

from protos.nearline.v1 import status_pb2
from serving.errors import InvalidRequestError, ModelError

MAX_ITEM_BYTES = 256
_SHORT = MAX_ITEM_BYTES // 4
"""Characters, of which none takes more than four bytes: most ids need not be encoded to know that they fit."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """`ids` by row; `popular` are rows, most popular first; `rows` is the way back."""

    ids: Sequence[str]
    popular: Sequence[int]
    rows: Mapping[str, int]

    def encode(self) -> bytes:
        """Return the bytes of catalogue.msgpack."""
        packed: bytes = msgpack.packb({"ids": list(self.ids), "popular": list(self.popular)})
        return packed


def make_catalogue(ids: Sequence[str], popular: Sequence[int]) -> Catalogue:
    """Check and build; InvalidRequestError names the field."""
    if not ids:
        raise InvalidRequestError("catalogue.ids", "at least one item", "none")
    for item in ids:
        if not isinstance(item, str) or not (0 < len(item) <= _SHORT or _fits(item)):
            raise InvalidRequestError("catalogue.ids", f"strings of 1 to {MAX_ITEM_BYTES} bytes", repr(item)[:80])
    rows = dict(zip(ids, range(len(ids)), strict=True))
    if len(rows) != len(ids):
        twice = next(item for row, item in enumerate(ids) if rows[item] != row)
        raise InvalidRequestError("catalogue.ids", "each item once", f"{twice!r} twice")
    for row in popular:
        if not isinstance(row, int) or not 0 <= row < len(ids):
            raise InvalidRequestError("catalogue.popular", f"rows from 0 to {len(ids) - 1}", row)
    return Catalogue(tuple(ids), tuple(popular), rows)


def _fits(item: str) -> bool:
    return 0 < len(item.encode(errors="replace")) <= MAX_ITEM_BYTES


def read_catalogue(data: bytes) -> Catalogue:
    """Read catalogue.msgpack; ModelError(MANIFEST)."""
    try:
        said = msgpack.unpackb(data)
        return make_catalogue(said["ids"], said["popular"])
    except (ValueError, KeyError, TypeError, InvalidRequestError, msgpack.exceptions.UnpackException) as error:
        raise ModelError(status_pb2.MANIFEST, f"catalogue.msgpack: {error}", rejected=True) from error
