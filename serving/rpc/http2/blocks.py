"""Header blocks to requests, remembering what can be.

A block of nothing but one-byte indexed fields (RFC 7541 §6.1: 0x80 and above; 0xff begins a longer index) leaves the
dynamic table as it is, so it means the same until the next block that is not such. Clients that repeat themselves send
nothing else after their first request. Of other blocks, the fields that do not change from call to call are
remembered together, checked and interpreted, and only the rest is looked at anew.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from serving.rpc.http2.fields import check_request, check_trailers, check_values
from serving.rpc.http2.hpack import Decoder, Field

_INDEXED = bytes(range(0x80, 0xFF))
_MOST = 64


class Interpreter(Protocol):
    """What the layer above makes of fields; neither method may raise."""

    varying: frozenset[bytes]
    """Names of regular fields that often differ from call to call."""

    def read(self, fields: Sequence[Field]) -> Any:
        """Interpret all fields of a request but the varying ones."""
        ...

    def refine(self, head: Any, fields: Sequence[Field]) -> Any:
        """Return another head, for a request that has these varying fields, too."""
        ...


class HeaderBlocks:
    """One connection's."""

    def __init__(self, decoder: Decoder, interpreter: Interpreter) -> None:
        self._decode = decoder.decode
        self._interpreter = interpreter
        self._varying = interpreter.varying
        self.known: dict[bytes, tuple[Any, int]] = {}
        """Blocks that mean the same as before."""
        self._heads: dict[tuple[Field, ...], tuple[Any, int, int]] = {}
        self._last: list[Field] = []
        self._last_found: tuple[Any, int] = (None, -1)

    def request(self, block: bytes) -> tuple[Any, int]:
        """Return the interpreted head and the content-length (-1 = none); MalformedError or ConnectionFault."""
        found = self.known.get(block)
        if found is not None:
            return found
        fields = self._decode(block)
        stable = not block.translate(None, _INDEXED)
        if not stable and self.known:
            self.known.clear()
        found = self._as_before(fields) or self._read(fields)
        if stable and len(self.known) < _MOST:
            self.known[block] = found
        return found

    def _as_before(self, fields: list[Field]) -> tuple[Any, int] | None:
        """What the last request had, with what varies behind it: the order in which most clients have it."""
        count, varying = len(self._last), self._varying
        if not count or fields[:count] != self._last:
            return None
        changing = fields[count:]
        if not changing:
            return self._last_found
        for field in changing:
            if field[0] not in varying:
                return None
        check_values(changing)
        return self._interpreter.refine(self._last_found[0], changing), self._last_found[1]

    def _read(self, fields: list[Field]) -> tuple[Any, int]:
        varying = self._varying
        changing = [field for field in fields if field[0] in varying]
        key = tuple([field for field in fields if field[0] not in varying]) if changing else tuple(fields)
        known = self._heads.get(key)
        if known is None:
            known = self._learn(key)
        head, length, pseudo = known
        self._last, self._last_found = list(key), (head, length)
        if changing:
            # RFC 9113 §8.3: pseudo-headers first. They are so in the key; a varying field before one would move it.
            if fields[pseudo - 1] is not key[pseudo - 1]:
                check_request(fields)
            check_values(changing)
            head = self._interpreter.refine(head, changing)
        return head, length

    def _learn(self, key: tuple[Field, ...]) -> tuple[Any, int, int]:
        length = check_request(key)
        if len(self._heads) >= _MOST:
            self._heads.clear()
        pseudo = sum(field[0][:1] == b":" for field in key)
        known = self._heads[key] = (self._interpreter.read(key), length, pseudo)
        return known

    def trailers(self, block: bytes) -> None:
        """Check the trailers of a request; gRPC has no use for them."""
        self.known.clear()
        check_trailers(self._decode(block))

    def skip(self, block: bytes) -> None:
        """Decode for the sake of the table: every block must be (RFC 9113 §4.3)."""
        self.known.clear()
        self._decode(block)
