"""Header blocks to requests, remembering those that cannot have changed anything.

A block of nothing but one-byte indexed fields (RFC 7541 §6.1: 0x80 and above; 0xff begins a longer index) leaves the
dynamic table as it is, so it means the same until the next block that is not such. Clients that repeat themselves send
nothing else after their first request.
"""

from collections.abc import Callable, Sequence
from typing import Any

from serving.rpc.http2.fields import check_request, check_trailers
from serving.rpc.http2.hpack import Decoder, Field

Interpret = Callable[[Sequence[Field]], Any]

_INDEXED = bytes(range(0x80, 0xFF))
_MOST = 64


class HeaderBlocks:
    """One connection's. `interpret` makes of a request's fields what the layer above wants; it must not raise."""

    def __init__(self, decoder: Decoder, interpret: Interpret) -> None:
        self._decoder = decoder
        self._interpret = interpret
        self.known: dict[bytes, tuple[Any, int]] = {}
        """Blocks that mean the same as before."""

    def request(self, block: bytes) -> tuple[Any, int]:
        """Return the interpreted head and the content-length (-1 = none); MalformedError or ConnectionFault."""
        found = self.known.get(block)
        if found is not None:
            return found
        fields = self._decoder.decode(block)
        stable = not block.translate(None, _INDEXED)
        if not stable:
            self.known.clear()
        length = check_request(fields)
        found = (self._interpret(fields), length)
        if stable and len(self.known) < _MOST:
            self.known[block] = found
        return found

    def trailers(self, block: bytes) -> None:
        """Check the trailers of a request; gRPC has no use for them."""
        self.known.clear()
        check_trailers(self._decoder.decode(block))

    def skip(self, block: bytes) -> None:
        """Decode for the sake of the table: every block must be (RFC 9113 §4.3)."""
        self.known.clear()
        self._decoder.decode(block)
