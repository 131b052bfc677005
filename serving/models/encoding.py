"""From a model's outputs to encoded answers, without an object per item: precomputed bytes of item ids are joined.

An answer is an encoded RecommendResponse without its source; a hit appends that (protobuf merges fields that follow).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protos.nearline.v1 import recommender_pb2

_FIELDS = recommender_pb2.RecommendResponse.DESCRIPTOR.fields_by_name
_LENGTH_DELIMITED = 2
_SEVEN_BITS = 0x7F
_ITEM = _FIELDS["item_ids"].number << 3 | _LENGTH_DELIMITED
_SCORES = _FIELDS["scores"].number << 3 | _LENGTH_DELIMITED
_FIRST_TAGS = (_ITEM, _SCORES)
_COMPUTED_AT = bytes([_FIELDS["computed_at_ms"].number << 3])


def varint(number: int) -> bytes:
    """Base-128, least significant group first (protobuf's wire format)."""
    out = bytearray()
    while number > _SEVEN_BITS:
        out.append(number & _SEVEN_BITS | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


class AnswerEncoder:
    """Of one version; `ids` are the catalogue's, by row."""

    def __init__(self, model: str, version: int, ids: Sequence[str]) -> None:
        self._items = item_fields(ids)
        self._tail = recommender_pb2.RecommendResponse(model=model, version=version).SerializeToString()
        self._heads: dict[int, bytes] = {}
        """By how many items an answer has: what stands before its scores."""

    def encode(
        self, items: NDArray[Any], scores: NDArray[np.float32], held: NDArray[np.bool_] | None, now_ms: int
    ) -> list[bytes]:
        """Return an answer for each row of items (rows of the catalogue), scores and `held`, all [batch, k].

        Only places that are held are in the answer; None = all are.
        """
        tail = self._tail + (_COMPUTED_AT + varint(now_ms) if now_ms else b"")
        pieces = self._items.__getitem__
        width = items.shape[1]
        if held is None or held.all():
            head = self._heads.get(width)
            if head is None:
                head = self._heads[width] = _head("scores", 4 * width) if width else b""
            packed = np.ascontiguousarray(scores, "<f4").tobytes()
            size = 4 * width
            return [
                b"".join(map(pieces, row)) + head + packed[at : at + size] + tail
                for row, at in zip(items.tolist(), range(0, len(packed) or len(items), size or 1), strict=False)
            ]
        return [
            b"".join(map(pieces, row[mask].tolist())) + _field("scores", score[mask].astype("<f4").tobytes()) + tail
            for row, score, mask in zip(items, scores, held, strict=True)
        ]


def item_field(item: str) -> bytes:
    """Return how an item id stands in an encoded answer."""
    return _field("item_ids", item.encode())


def item_fields(items: Sequence[str]) -> list[bytes]:
    """Return how each stands in an encoded answer: of a whole catalogue, while calls wait for the interpreter."""
    heads: dict[int, bytes] = {}
    fields = []
    for item in items:
        text = item.encode()
        size = len(text)
        head = heads.get(size)
        if head is None:
            head = heads[size] = _head("item_ids", size)
        fields.append(head + text)
    return fields


def first_items(message: bytes, k: int) -> tuple[bytes, int]:
    """Return an encoded answer with at most its first `k` items and their scores, and how many those are.

    Cut by hand, without an object for an item, where it was encoded here; by protobuf where it is laid out otherwise.
    """
    try:
        return _cut(message, k)
    except (IndexError, ValueError):
        said = recommender_pb2.RecommendResponse.FromString(message)
        count = min(k, len(said.item_ids))
        del said.item_ids[k:], said.scores[k:]
        return said.SerializeToString(), count


def _cut(message: bytes, k: int) -> tuple[bytes, int]:
    """Items first, then their scores, then the rest, once each; ValueError or IndexError for anything else."""
    at, ends = 0, [0]
    while message[at] == _ITEM:
        at = _after(message, at)
        ends.append(at)
    if message[at] != _SCORES:
        raise ValueError("expected scores behind the items")
    last = _after(message, at)
    field = last
    while field < len(message):
        if message[field] in _FIRST_TAGS:
            raise ValueError("expected all items and scores at the beginning")
        field = _after(message, field)
    count = min(k, len(ends) - 1)
    if k >= len(ends) - 1:
        return message, count
    scores = last - 4 * (len(ends) - 1)
    if message[at:scores] != _head("scores", last - scores):
        raise ValueError("expected a score for each item")
    return message[: ends[k]] + _field("scores", message[scores : scores + 4 * k]) + message[last:], count


def _after(message: bytes, at: int) -> int:
    """Where the field after this one begins, whose tag has one byte."""
    kind, at = message[at] & 7, at + 1
    size, shift = message[at] & _SEVEN_BITS, 7
    while message[at] > _SEVEN_BITS:
        at += 1
        size |= (message[at] & _SEVEN_BITS) << shift
        shift += 7
    if kind == _LENGTH_DELIMITED:
        return at + 1 + size
    if kind:
        raise ValueError("expected a varint")
    return at + 1


def _head(name: str, size: int) -> bytes:
    return varint(_FIELDS[name].number << 3 | _LENGTH_DELIMITED) + varint(size)


def _field(name: str, data: bytes) -> bytes:
    return _head(name, len(data)) + data if data else b""
