"""Header blocks to fields (RFC 7541). The decoder is a library's: `jh2`'s in Rust, or `hpack` where that has no wheel.

`jh2._hazmat` is no public interface of its package: tests/rpc/http2/test_hpack.py holds both to one contract.
"""

from collections.abc import Callable
from typing import Any, Protocol

from serving.rpc.http2.codes import ConnectionFault, ErrorCode

_PREFIX, _MORE = 0x1F, 0x80
"""Of an integer (RFC 7541 §5.1)."""
Field = tuple[bytes, bytes, bool]
"""Name, value, and whether it must never be indexed."""


class Decoder(Protocol):
    """One connection's decoder: it carries the dynamic table from block to block."""

    def decode(self, block: bytes) -> list[Field]:
        """Return the fields; ConnectionFault, after which the table cannot be trusted."""
        ...


class RustDecoder:
    """`jh2._hazmat.Decoder`.

    Three things it does not see to. It panics on some truncated blocks: an error like any other, though no Exception.
    It takes changes of the table's size anywhere in a block, where RFC 7541 §4.2 wants them first: checked here. It
    takes Huffman strings padded with other bits than ones (§5.2), which harms nobody, and costs too much to check.
    """

    def __init__(self, table_bytes: int, list_bytes: int) -> None:
        from jh2 import _hazmat  # noqa: PLC0415 - imported on choice

        self._decoder: Any = _hazmat.Decoder(list_bytes)
        self._decoder.max_allowed_table_size = table_bytes
        self._decode = self._decoder.decode
        self._most = table_bytes
        self._table_bytes: int = self._decoder.header_table_size
        self._oversized = _hazmat.OversizedHeaderListError

    def decode(self, block: bytes) -> list[Field]:
        """See Decoder."""
        try:
            fields: list[Field] = self._decode(block, True)
        except Exception as error:
            raise _fault(error, block, self._most, oversized=isinstance(error, self._oversized)) from error
        except BaseException as error:
            if type(error).__name__ != "PanicException":
                raise
            raise _fault(error, block, self._most, oversized=False) from None
        if self._decoder.header_table_size != self._table_bytes:
            self._table_bytes = self._decoder.header_table_size
            if table_size(block) != self._table_bytes:
                raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, "header block: a table's size within it")
        return fields


def table_size(block: bytes) -> int | None:
    """Return the last size that a block sets for the table before its fields (RFC 7541 §6.3)."""
    size, position = None, 0
    while position < len(block) and block[position] >> 5 == 1:
        size, shift = block[position] & _PREFIX, 0
        position += 1
        if size == _PREFIX:
            while position < len(block):
                size += (block[position] & 0x7F) << shift
                shift += 7
                position += 1
                if block[position - 1] < _MORE:
                    break
    return size


class PythonDecoder:
    """`hpack.Decoder`: ten times slower."""

    def __init__(self, table_bytes: int, list_bytes: int) -> None:
        import hpack  # noqa: PLC0415 - imported on choice

        self._decoder = hpack.Decoder(list_bytes)
        self._most = table_bytes
        self._decoder.max_allowed_table_size = table_bytes
        self._errors = hpack.HPACKError
        self._oversized = hpack.OversizedHeaderListError

    def decode(self, block: bytes) -> list[Field]:
        """See Decoder."""
        try:
            fields: Any = self._decoder.decode(block, raw=True)
            return [(bytes(name), bytes(value), False) for name, value in fields]
        except self._errors as error:
            raise _fault(error, block, self._most, oversized=isinstance(error, self._oversized)) from error


MakeDecoder = Callable[[int, int], Decoder]


def best_decoder() -> MakeDecoder:
    """Return the fastest that is installed."""
    try:
        from jh2 import _hazmat  # noqa: F401, PLC0415 - looks whether it is there
    except ImportError:
        return PythonDecoder
    return RustDecoder


def _fault(error: BaseException, block: bytes, table_bytes: int, *, oversized: bool) -> ConnectionFault:
    if oversized:
        return ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "header list too large", limit="header_list_bytes")
    # RFC 9113 §4.3: what cannot be decoded ends the connection, since the tables differ from now on.
    limit = "header_table_bytes" if (table_size(block) or 0) > table_bytes else ""
    return ConnectionFault(ErrorCode.COMPRESSION_ERROR, f"header block: {type(error).__name__}", limit=limit)
