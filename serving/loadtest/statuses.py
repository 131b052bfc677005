"""gRPC status from header blocks.

The server is told to compress without a table, so that equal blocks mean the same, and are looked up.
"""

import re
from collections import Counter
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
STATUS_NAME = b"\x0bgrpc-status"
"""As a literal without Huffman coding (RFC 7541 §5.2)."""
_LITERAL = re.compile(re.escape(STATUS_NAME) + rb"[\x01\x02](\d{1,2})")
_EXAMPLES = 3


class Status(NamedTuple):
    """How a call ended: the name of its code, and the server's message."""

    name: str
    message: str = ""


OK = Status("OK")


class Statuses:
    """Of one connection. `ok`: the first block that said OK."""

    def __init__(self) -> None:
        self.ok = b""
        self._known: dict[bytes, Status] = {}
        self._read: Counter[bytes] = Counter()

    def of(self, block: bytes) -> Status:
        """Return the status that a whole header block says, whose end is the end of a call.

        Messages may be different each time, as under overload: of each code a few are read, then only the code.
        """
        status = self._known.get(block)
        if status is not None:
            return status
        found = _LITERAL.search(block)
        if found is not None and self._read[found[1]] >= _EXAMPLES:
            return status_of(int(found[1]))
        status = _read(block)
        if found is not None:
            self._read[found[1]] += 1
        if len(self._known) < _REMEMBERED:
            self._known[block] = status
        if status is OK and not self.ok:
            self.ok = block
        return status


def status_of(code: int) -> Status:
    """Return the status of a number, without a message."""
    name = _NAMES.get(code, "UNKNOWN")
    return OK if name == "OK" else Status(name)


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
