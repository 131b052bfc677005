"""What the fields of a request must be like (RFC 9113 §8.2 and §8.3); a request that is not so is malformed."""

import re
from collections.abc import Sequence

from serving.rpc.http2.hpack import Field

# RFC 9113 §8.2.1: no upper case, nothing below 0x21 or above 0x7e, and no colon but a pseudo-header's first.
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_VALUE = re.compile(rb"(?![ \t])[^\0\r\n]*(?<![ \t])")
_COLON = 0x3A
_PSEUDO = frozenset((b":method", b":scheme", b":path", b":authority"))
_NEEDED = frozenset((b":method", b":scheme", b":path"))
# RFC 9113 §8.2.2.
_OF_HTTP_1 = frozenset((b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"))
_LENGTH = re.compile(rb"[0-9]{1,18}")

_MAX_PASSED = 4096
_passed: set[Field] = set()
"""Fields that were found right; most requests repeat those of the last. Values of clients, so bounded."""


class MalformedError(ValueError):
    """A request that a stream error answers (RFC 9113 §8.1.1)."""


def check_request(fields: Sequence[Field]) -> int:
    """Return the announced length of the content, -1 without one; MalformedError."""
    found: set[bytes] = set()
    regular, length = False, -1
    for field in fields:
        name = field[0]
        if name[:1] == b":":
            if regular or name in found or name not in _PSEUDO:
                raise MalformedError("pseudo-headers: expected each once, and before all others")
            found.add(name)
            if field not in _passed:
                _check_value(field)
        else:
            regular = True
            if field not in _passed:
                _check_regular(field)
            if name == b"content-length":
                length = _length(field[1], length)
    if not found >= _NEEDED:
        raise MalformedError("pseudo-headers: expected :method, :scheme and :path")
    return length


def check_trailers(fields: Sequence[Field]) -> None:
    """RFC 9113 §8.1: trailers have no pseudo-headers; MalformedError."""
    for field in fields:
        _check_regular(field)


def _check_regular(field: Field) -> None:
    name, value, _ = field
    if not _NAME.fullmatch(name):
        raise MalformedError("a field's name: expected lower-case letters, digits and `-_.`")
    if name in _OF_HTTP_1 or (name == b"te" and value != b"trailers"):
        raise MalformedError("a field that belongs to HTTP/1.1")
    _check_value(field)


def _check_value(field: Field) -> None:
    name, value, _ = field
    if not _VALUE.fullmatch(value) or (name == b":path" and not value):
        raise MalformedError("a field's value: expected neither control characters nor spaces around it")
    if len(_passed) >= _MAX_PASSED:
        _passed.clear()
    if len(value) <= 128:  # noqa: PLR2004 - long ones are not worth remembering
        _passed.add(field)


def _length(value: bytes, before: int) -> int:
    if not _LENGTH.fullmatch(value) or before not in {-1, int(value)}:
        raise MalformedError("content-length: expected one number")
    return int(value)
