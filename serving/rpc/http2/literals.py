"""Fields to header blocks without a dynamic table (RFC 7541 §6.2.2): the same bytes whatever was sent before.

So blocks can be constants, and the peer's SETTINGS_HEADER_TABLE_SIZE has nothing to say. And of blocks of peers, what
is written so can be told by its bytes.
"""

import re
from collections.abc import Iterable

from serving.rpc.http2.hpack import Field

_STATUS = {b"200": b"\x88", b"204": b"\x89", b"206": b"\x8a", b"304": b"\x8b", b"400": b"\x8c", b"404": b"\x8d"}
_CONTINUES = 0x7F


def block(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return an encoded block; names must be in lower case."""
    return b"".join(_field(name, value) for name, value in fields)


def _field(name: bytes, value: bytes) -> bytes:
    if name == b":status" and value in _STATUS:
        return _STATUS[value]
    return b"\0" + _string(name) + _string(value)


def _string(text: bytes) -> bytes:
    """RFC 7541 §5.2, without Huffman."""
    length = len(text)
    if length < _CONTINUES:
        return bytes((length,)) + text
    out, rest = bytearray((_CONTINUES,)), length - _CONTINUES
    while rest >= 0x80:  # noqa: PLR2004 - seven bits a byte (RFC 7541 §5.1)
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out) + text


def pattern(name: bytes, values: Iterable[tuple[int, bytes]]) -> bytes:
    """Return an expression for a short field, written so: for its value, lengths and an expression of each length."""
    choices = b"|".join(re.escape(bytes((length,))) + value for length, value in values)
    return b"\\x00" + re.escape(bytes((len(name),)) + name) + b"(?:" + choices + b")"


def fields(block: bytes) -> list[Field]:
    """Return the fields of a block of nothing but such short ones as `pattern` matches."""
    found: list[Field] = []
    position = 0
    while position < len(block):
        value = position + 2 + block[position + 1]
        end = value + 1 + block[value]
        found.append((block[position + 2 : value], block[value + 1 : end], False))
        position = end
    return found
