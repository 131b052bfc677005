"""What the fields of a request must be like (RFC 9113 §8.2 and §8.3); a request that is not so is malformed."""

import re
from collections.abc import Sequence

from serving.rpc.http2.hpack import Field

# RFC 9113 §8.2.1: no upper case, nothing below 0x21 or above 0x7e, and no colon but a pseudo-header's first.
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+").fullmatch
_VALUE = re.compile(rb"(?![ \t])[^\0\r\n]*(?<![ \t])").fullmatch
_PSEUDO = frozenset((b":method", b":scheme", b":path", b":authority"))
_NEEDED = frozenset((b":method", b":scheme", b":path"))
# RFC 9113 §8.2.2.
_OF_HTTP_1 = frozenset((b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"))
_LENGTH = re.compile(rb"[0-9]{1,18}").fullmatch

_BAD_VALUE = "a field's value: expected neither control characters nor spaces around it"


class MalformedError(ValueError):
    """A request that a stream error answers (RFC 9113 §8.1.1)."""


def check_request(fields: Sequence[Field]) -> int:
    """Return the announced length of the content, -1 without one; MalformedError."""
    found: set[bytes] = set()
    regular, length = False, -1
    for field in fields:
        name, value, _ = field
        if name[:1] == b":":
            if regular or name in found or name not in _PSEUDO:
                raise MalformedError("pseudo-headers: expected each once, and before all others")
            found.add(name)
            _check_value(name, value)
        else:
            regular = True
            _check_regular(name, value)
            if name == b"content-length":
                length = _length(value, length)
    if not found >= _NEEDED:
        raise MalformedError("pseudo-headers: expected :method, :scheme and :path")
    return length


def check_trailers(fields: Sequence[Field]) -> None:
    """RFC 9113 §8.1: trailers have no pseudo-headers; MalformedError."""
    for name, value, _ in fields:
        _check_regular(name, value)


def check_values(fields: Sequence[Field]) -> None:
    """Check fields whose names are known to be right; MalformedError."""
    for _, value, _ in fields:
        if not _VALUE(value):
            raise MalformedError(_BAD_VALUE)


def _check_regular(name: bytes, value: bytes) -> None:
    if not _NAME(name):
        raise MalformedError("a field's name: expected lower-case letters, digits and `-_.`")
    if name in _OF_HTTP_1 or (name == b"te" and value != b"trailers"):
        raise MalformedError("a field that belongs to HTTP/1.1")
    _check_value(name, value)


def _check_value(name: bytes, value: bytes) -> None:
    if not _VALUE(value) or (name == b":path" and not value):
        raise MalformedError(_BAD_VALUE)


def _length(value: bytes, before: int) -> int:
    if not _LENGTH(value) or before not in {-1, int(value)}:
        raise MalformedError("content-length: expected one number")
    return int(value)
