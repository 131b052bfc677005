"""Cuts the values off an encoded ModelInferRequest, without protobuf. Pure.

Format: https://protobuf.dev/programming-guides/encoding; all fields of the message are length-delimited.
"""

from collections.abc import Sequence

from serving.models.encoding import varint
from serving.recommend.tensor_runs import Chunk

_MODEL, _ID, _RAW = 0x0A, 0x1A, 0x3A
"""Tags: the field's number, then three bits for length-delimited."""
_NAMES = frozenset((_MODEL, 0x12))
"""The model's, and its version's."""
_OTHERS = frozenset((0x0A, 0x12, 0x22, 0x2A, 0x32))
"""Model, version, parameters, inputs, outputs."""
_FIELDS = _OTHERS | {_ID, _RAW}
_VIEWED = 4_096
"""Larger values are views of the request, not copies."""
_SEVEN_BITS = 0x7F
_TWO_BYTES = 1 << 14
_MOST_SHIFTS = 28
"""A message is below 2 GiB, and so is what is in it."""


def model_of(data: bytes, /, *, sure: bool = False) -> bytes:
    """Return how a request begins: with the model's name and version, as all clients write them; b"" where it does not.

    Of requests with the same beginning, all want the same model and version, but for those that name another one later,
    which no client does: where `sure`, those give b"", too.
    """
    if len(data) < 2 or data[0] != _MODEL or data[1] > _SEVEN_BITS:  # noqa: PLR2004 - a tag and a length
        return b""
    end = 2 + data[1]
    if data[end : end + 1] == b"\x12":  # a version, whose length stands behind its tag
        if end + 1 == len(data) or data[end + 1] > _SEVEN_BITS:
            return b""
        end += 2 + data[end + 1]
    return b"" if sure and _names_a_model(data, end) else data[:end]


def split(data: bytes) -> tuple[bytes, bytes, tuple[Chunk, ...]] | None:  # noqa: C901 - hot: no calls for a field
    """Return what stands before the raw values, without the id; the id; the values.

    None where there are no raw values, or something is laid out as protobuf's own encoders do not: it may still be
    a request.
    """
    at, end = 0, len(data)
    first = id_from = id_to = 0
    ident = b""
    raw: list[Chunk] = []
    try:
        while at < end:
            tag, size, start = data[at], data[at + 1], at + 2
            if size > _SEVEN_BITS:  # usually of two bytes
                size, start = (size & _SEVEN_BITS | data[start] << 7, start + 1)
                if size >= _TWO_BYTES:
                    size, start = _length(data, at + 1)
            stop = start + size
            if stop > end:
                return None
            if tag == _RAW:
                first = first or at
                raw.append(data[start:stop] if size < _VIEWED else memoryview(data)[start:stop])
            elif raw:
                return None
            elif tag == _ID and not id_to:
                id_from, id_to, ident = at, stop, data[start:stop]
            elif tag not in _OTHERS:
                return None
            at = stop
    except IndexError:
        return None
    if not raw or not (ident.isascii() or _is_text(ident)):
        return None
    return data[:id_from] + data[id_to:first], ident, tuple(raw)


class Layout:
    """Where the values stand in requests that begin alike, and whose values are as long: all is compared, none read."""

    __slots__ = ("_begin", "_bytes", "_first", "_others")

    def __init__(self, begin: bytes, sizes: Sequence[int]) -> None:
        """`begin`: up to the values. `sizes`: of each value, in bytes; at least one."""
        tags = [b"%c%s" % (_RAW, varint(size)) for size in sizes]
        self._begin = begin + tags[0]
        at = len(self._begin) + sizes[0]
        self._first = slice(len(self._begin), at)
        self._others: list[tuple[slice, bytes, slice]] = []
        for tag, size in zip(tags[1:], sizes[1:], strict=True):
            start = at + len(tag)
            self._others.append((slice(at, start), tag, slice(start, start + size)))
            at = start + size
        self._bytes = at

    def values(self, data: bytes) -> tuple[Chunk, ...] | None:
        """Return the values; None for a request that is laid out otherwise."""
        if len(data) != self._bytes or not data.startswith(self._begin):
            return None
        source: Chunk = data if self._bytes < _VIEWED else memoryview(data)
        if not self._others:
            return (source[self._first],)
        for where, tag, _ in self._others:
            if data[where] != tag:
                return None
        return (source[self._first], *[source[value] for _, _, value in self._others])


def _length(data: bytes, at: int) -> tuple[int, int]:
    """Read a number of several bytes; where it ends. IndexError."""
    size = shift = 0
    while True:
        byte = data[at]
        at += 1
        size |= (byte & _SEVEN_BITS) << shift
        if byte <= _SEVEN_BITS:
            return size, at
        shift += 7
        if shift > _MOST_SHIFTS:
            raise IndexError


def _names_a_model(data: bytes, at: int) -> bool:
    """Tell whether any field from there on does, or is not of a kind that a request has."""
    try:
        while at < len(data):
            tag = data[at]
            if tag in _NAMES or tag not in _FIELDS:
                return True
            size, at = _length(data, at + 1)
            at += size
    except IndexError:
        return True
    return at > len(data)


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
