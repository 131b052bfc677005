"""Metadata as header fields, both ways (gRPC over HTTP/2: "Custom-Metadata", "Status-Message", "TimeoutValue")."""

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from urllib.parse import quote_from_bytes

from serving.rpc.http2.hpack import Field
from serving.rpc.method import Metadata

_TIMEOUT = re.compile(rb"[0-9]{1,8}[HMSmun]").fullmatch
some_time = re.compile(rb"[1-9][0-9]{0,7}[HMSmun]").fullmatch
"""Whether a `grpc-timeout` is one, and not over; of those with a leading zero, no."""
_UNITS = {ord("H"): 3600.0, ord("M"): 60.0, ord("S"): 1.0, ord("m"): 1e-3, ord("u"): 1e-6, ord("n"): 1e-9}
_OF_PROTOCOL = frozenset((b"content-type", b"te", b"host", b"content-length"))
_PRINTABLE = "".join(chr(code) for code in range(0x20, 0x7F) if code != ord("%"))
_PRINTABLE_TEXT = re.compile(r"[\x20-\x24\x26-\x7e]*")


class BadMetadataError(ValueError):
    """A field that a client filled wrongly."""


def read_metadata(fields: Sequence[Field]) -> Metadata:
    """Return what handlers see: not the protocol's own fields. BadMetadataError."""
    found: list[tuple[str, str | bytes]] = []
    for name, value, _ in fields:
        if name[:1] == b":" or name in _OF_PROTOCOL or name[:5] == b"grpc-":
            continue
        if name[-4:] == b"-bin":
            found += ((name.decode(), _binary(name, part)) for part in value.split(b","))
        else:
            found.append((name.decode(), value.decode("latin-1")))
    return tuple(found)


def _binary(name: bytes, value: bytes) -> bytes:
    value = value.strip(b" \t")
    try:
        return base64.b64decode(value + b"=" * (-len(value) % 4), validate=True)
    except binascii.Error as error:
        raise BadMetadataError(f"{name.decode()}: expected base64") from error


def write_metadata(metadata: Metadata) -> Iterator[tuple[bytes, bytes]]:
    """Yield the fields of metadata; ValueError for what cannot be sent."""
    for name, value in metadata:
        data = base64.b64encode(value).rstrip(b"=") if isinstance(value, bytes) else value.encode("ascii")
        if isinstance(value, bytes) != name.endswith("-bin") or any(byte in data for byte in b"\0\r\n"):
            raise ValueError(f"metadata {name!r}: expected bytes where the name ends in -bin, else printable ASCII")
        yield name.lower().encode("ascii"), data


def read_timeout(value: bytes) -> float:
    """Return seconds; BadMetadataError."""
    if not _TIMEOUT(value):
        raise BadMetadataError("grpc-timeout: expected up to 8 digits and one of H, M, S, m, u, n")
    return seconds_of(value)


def seconds_of(value: bytes) -> float:
    """Return seconds of a `grpc-timeout` that is known to be one."""
    return int(value[:-1]) * _UNITS[value[-1]]


def percent(message: str) -> bytes:
    """Return a message for `grpc-message`; a field's value neither begins nor ends with a space."""
    inner = message.strip(" ")
    if len(inner) == len(message) and _PRINTABLE_TEXT.fullmatch(message):
        return message.encode()
    before = len(message) - len(message.lstrip(" "))
    after = len(message) - before - len(inner)
    quoted = quote_from_bytes(inner.encode("utf-8", "replace"), safe=_PRINTABLE).encode()
    return b"%20" * before + quoted + b"%20" * after
