"""gRPC status from header blocks.

The server is told to compress without a table, so that equal blocks mean the same, and are looked up.
"""

from collections.abc import Mapping
from typing import NamedTuple

import grpc
import hpack

from serving.loadtest import frames

_REMEMBERED = 1_024
_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}
_RESETS = {7: "UNAVAILABLE", 8: "CANCELLED", 11: "RESOURCE_EXHAUSTED", 12: "PERMISSION_DENIED"}
"""REFUSED_STREAM, CANCEL, ENHANCE_YOUR_CALM, INADEQUATE_SECURITY (gRPC over HTTP/2, "Errors")."""
_HTTP = {
    "400": "INTERNAL",
    "401": "UNAUTHENTICATED",
    "403": "PERMISSION_DENIED",
    "404": "UNIMPLEMENTED",
    "429": "UNAVAILABLE",
    "502": "UNAVAILABLE",
    "503": "UNAVAILABLE",
    "504": "UNAVAILABLE",
}
"""gRPC's mapping of an answer that has no grpc-status (doc/http-grpc-status-mapping.md)."""
UNREADABLE = "unreadable header block"


class Status(NamedTuple):
    """How a call ended: the name of its code, and the server's message."""

    name: str
    message: str = ""


OK = Status("OK")


class Statuses:
    """Of one connection."""

    def __init__(self) -> None:
        self._known: dict[bytes, Status] = {}

    def of(self, block: bytes) -> Status:
        """Return the status that a whole header block says, whose end is the end of a call."""
        status = self._known.get(block)
        if status is None:
            status = _read(block)
            if len(self._known) < _REMEMBERED:  # messages may be different each time
                self._known[block] = status
        return status


def reset(code: int) -> Status:
    """Return the status of a stream that the server reset."""
    return Status(_RESETS.get(code, "INTERNAL"), f"RST_STREAM with code {code}")


def _read(block: bytes) -> Status:
    try:
        fields = {str(name): str(value) for name, value in _decoder().decode(block)}
    except hpack.HPACKError as error:
        return Status("INTERNAL", f"{UNREADABLE}: {error}")
    code = fields.get("grpc-status")
    if code is None:
        http = fields.get(":status", "none")
        return Status(_HTTP.get(http, "UNKNOWN"), f"no grpc-status; HTTP status {http}")
    number = int(code) if code.isdigit() else -1
    name = _NAMES.get(number, "UNKNOWN")
    return OK if name == "OK" else Status(name, fields.get("grpc-message", ""))


def _decoder() -> hpack.Decoder:
    decoder = hpack.Decoder()
    decoder.max_allowed_table_size = frames.PROTOCOL_TABLE
    return decoder


def request_blocks(path: str, authority: str, scheme: str, more: Mapping[str, str], table: int) -> tuple[bytes, bytes]:
    """Return the header block of a connection's first call, and that of all others, which refers to it.

    `table`: bytes that the server keeps; with too few of them both are the same.
    """
    fields = [
        (":method", "POST"),
        (":scheme", scheme),
        (":path", path),
        (":authority", authority),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("user-agent", "nearline-bench"),
        *more.items(),
    ]
    if table < frames.PROTOCOL_TABLE:
        again = b"".join(_literal(name, value) for name, value in fields)
        return b"\x20" + again, again
    encoder = hpack.Encoder()
    return encoder.encode(fields), encoder.encode(fields)


def _literal(name: str, value: str) -> bytes:
    """Literal without indexing, new name, no Huffman (RFC 7541 §6.2.2)."""
    return b"\0" + _text(name) + _text(value)


def _text(text: str) -> bytes:
    data = text.encode()
    if len(data) < 0x7F:  # noqa: PLR2004 - what fits the prefix of 7 bits (RFC 7541 §5.1)
        return bytes((len(data),)) + data
    rest, out = len(data) - 0x7F, bytearray(b"\x7f")
    while rest >= 0x80:  # noqa: PLR2004 - as above
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out) + data
