"""Header blocks to fields (RFC 7541). The decoder is a library's: `jh2`'s in Rust, or `hpack` where that has no wheel.

`jh2._hazmat` is no public interface of its package: tests/rpc/http2/test_hpack.py holds both to one contract.
"""

from collections.abc import Callable
from typing import Any, Protocol

from serving.rpc.http2.codes import ConnectionFault, ErrorCode

Field = tuple[bytes, bytes, bool]
"""Name, value, and whether it must never be indexed."""


class Decoder(Protocol):
    """One connection's decoder: it carries the dynamic table from block to block."""

    def decode(self, block: bytes) -> list[Field]:
        """Return the fields; ConnectionFault, after which the table cannot be trusted."""
        ...


class RustDecoder:
    """`jh2._hazmat.Decoder`."""

    def __init__(self, table_bytes: int, list_bytes: int) -> None:
        from jh2 import _hazmat  # noqa: PLC0415 - imported on choice

        self._decoder: Any = _hazmat.Decoder(list_bytes)
        self._decoder.max_allowed_table_size = table_bytes
        self._decode = self._decoder.decode
        self._errors = (_hazmat.HPACKError, _hazmat.OversizedHeaderListError)
        self._oversized = _hazmat.OversizedHeaderListError

    def decode(self, block: bytes) -> list[Field]:
        """See Decoder."""
        try:
            fields: list[Field] = self._decode(block, True)
            return fields
        except self._errors as error:
            raise _fault(error, oversized=isinstance(error, self._oversized)) from error


class PythonDecoder:
    """`hpack.Decoder`: ten times slower."""

    def __init__(self, table_bytes: int, list_bytes: int) -> None:
        import hpack  # noqa: PLC0415 - imported on choice

        self._decoder = hpack.Decoder(list_bytes)
        self._decoder.max_allowed_table_size = table_bytes
        self._errors = hpack.HPACKError
        self._oversized = hpack.OversizedHeaderListError

    def decode(self, block: bytes) -> list[Field]:
        """See Decoder."""
        try:
            fields: Any = self._decoder.decode(block, raw=True)
            return [(bytes(name), bytes(value), False) for name, value in fields]
        except self._errors as error:
            raise _fault(error, oversized=isinstance(error, self._oversized)) from error


MakeDecoder = Callable[[int, int], Decoder]


def best_decoder() -> MakeDecoder:
    """Return the fastest that is installed."""
    try:
        from jh2 import _hazmat  # noqa: F401, PLC0415 - looks whether it is there
    except ImportError:
        return PythonDecoder
    return RustDecoder


def _fault(error: Exception, *, oversized: bool) -> ConnectionFault:
    if oversized:
        return ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "header list too large", limit="header_list_bytes")
    # RFC 9113 §4.3: what cannot be decoded ends the connection, since the tables differ from now on.
    return ConnectionFault(ErrorCode.COMPRESSION_ERROR, f"header block: {type(error).__name__}")
