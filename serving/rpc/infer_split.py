"""Cuts the values off an encoded ModelInferRequest, without protobuf. Pure.

Format: https://protobuf.dev/programming-guides/encoding; all fields of the message are length-delimited.
"""

from serving.recommend.tensor_runs import Chunk

_MODEL, _ID, _RAW = 0x0A, 0x1A, 0x3A
"""Tags: the field's number, then three bits for length-delimited."""
_OTHERS = frozenset((0x0A, 0x12, 0x22, 0x2A, 0x32))
"""Model, version, parameters, inputs, outputs."""
_VIEWED = 4_096
"""Larger values are views of the request, not copies."""
_SEVEN_BITS = 0x7F
_TWO_BYTES = 1 << 14
_MOST_SHIFTS = 28
"""A message is below 2 GiB, and so is what is in it."""


def model_of(data: bytes) -> bytes:
    """Return how a request begins: with the model's name and version, as all clients write them; b"" where it does not.

    Of requests with the same beginning, all want the same model and version.
    """
    if len(data) < 2 or data[0] != _MODEL or data[1] > _SEVEN_BITS:  # noqa: PLR2004 - a tag and a length
        return b""
    end = 2 + data[1]
    if data[end : end + 1] == b"\x12":  # a version, whose length stands behind its tag
        end += 2 + (data[end + 1] if end + 1 < len(data) else 0)
    return data[:end]


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


def raw_values(data: bytes, at: int) -> tuple[Chunk, ...] | None:
    """Return the raw values, which are all that there is from `at` on; None as for `split`."""
    end = len(data)
    raw: list[Chunk] = []
    try:
        while at < end:
            size, start = _length(data, at + 1)
            stop = start + size
            if data[at] != _RAW or stop > end:
                return None
            raw.append(data[start:stop] if size < _VIEWED else memoryview(data)[start:stop])
            at = stop
    except IndexError:
        return None
    return tuple(raw)


def _length(data: bytes, at: int) -> tuple[int, int]:
    """Read a number of several bytes; where it ends."""
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


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
