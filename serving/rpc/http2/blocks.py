"""Header blocks to requests, remembering what can be.

A block of nothing but one-byte indexed fields (RFC 7541 §6.1: 0x80 and above; 0xff begins a longer index) leaves the
dynamic table as it is, so it means the same until the next block that is not such. Clients that repeat themselves send
nothing else after their first request. Neither do literals that are not to be indexed (§6.2.2, §6.2.3), as which most
clients send what differs from call to call: of a block that begins as the last one did and ends in such, only the end
is looked at, and not even decoded if it is one that the interpreter knows on sight. Of all other blocks, the fields
that do not change from call to call are remembered together, checked and interpreted, and only the rest is looked at
anew.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from serving.rpc.http2.fields import check_request, check_trailers, check_values
from serving.rpc.http2.hpack import Decoder, Field

_INDEXED = bytes(range(0x80, 0xFF))
_MOST = 64
_SMALL = 2 << 10
"""Bytes of a block, and of a header list, that may be remembered; larger ones are read each time."""
_FIELD_BYTES = 32
"""What a field costs beside its bytes (RFC 9113 §6.5.2): a list of many empty ones is not small."""
_END_BYTES = 512
"""The longest end of a block that is decoded by itself: the limit on a header list does not see what is before it."""
_STRING_BYTES = 0x7F
_INDEXES = 0xEF


class Interpreter(Protocol):
    """What the layer above makes of fields; no method may raise."""

    varying: frozenset[bytes]
    """Names of regular fields that often differ from call to call."""

    def read(self, fields: Sequence[Field]) -> Any:
        """Interpret all fields of a request but the varying ones."""
        ...

    def refine(self, head: Any, fields: Sequence[Field]) -> Any:
        """Return another head, for a request that has these varying fields, too."""
        ...

    def usual(self, end: bytes, /) -> object:
        """Whether the end of a block is nothing but fields that vary, of right values, as `literals.pattern` says."""
        ...

    def extend(self, head: Any, end: bytes) -> Any:
        """As `refine`; the fields are those of a `usual` end of a block, to be read by `literals.fields`."""
        ...


class HeaderBlocks:
    """One connection's."""

    def __init__(self, decoder: Decoder, interpreter: Interpreter) -> None:
        self._decode = decoder.decode
        self._interpreter = interpreter
        self._varying = interpreter.varying
        self._usual, self._extend = interpreter.usual, interpreter.extend
        self.known: dict[bytes, tuple[Any, int]] = {}
        """Blocks that mean the same as before."""
        self._heads: dict[tuple[Field, ...], tuple[Any, int, int]] = {}
        self._last: list[Field] = []
        self._last_found: tuple[Any, int] = (None, -1)
        self._begin = b""
        """What means `_begin_found`, whatever not indexed literals follow; empty = nothing does."""
        self._begin_found: tuple[Any, int] = (None, -1)

    def request(self, block: bytes) -> tuple[Any, int]:
        """Return the interpreted head and the content-length (-1 = none); MalformedError or ConnectionFault."""
        found = self.known.get(block)
        if found is not None:
            return found
        begin = self._begin
        if begin and block.startswith(begin):
            end = block[len(begin) :]
            if self._usual(end):
                head, length = self._begin_found
                return self._extend(head, end), length
            if leaves_table(end):
                changing = self._decode(end)
                if self._varying.issuperset([name for name, _, _ in changing]):
                    check_values(changing)
                    return self._interpreter.refine(self._begin_found[0], changing), self._begin_found[1]
        return self._whole(block)

    def _whole(self, block: bytes) -> tuple[Any, int]:
        fields = self._decode(block)
        indexed = len(block) - len(block.lstrip(_INDEXED))
        stable = indexed == len(block)
        kept = stable or leaves_table(block[indexed:])
        if not kept:
            self.forget()
        found = self._as_before(fields) or self._read(fields)
        if stable and len(self.known) < _MOST and len(block) <= _SMALL and small(fields):
            self.known[block] = found
        if kept and indexed == len(self._last) and fields[:indexed] == self._last:
            self._begin, self._begin_found = block[:indexed], self._last_found
        return found

    def forget(self) -> None:
        """The table has changed, or may have: bytes mean other fields."""
        self.known.clear()
        self._begin = b""

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
        remembered = known is not None or small(key)
        if known is None:
            known = self._learn(key, remembered=remembered)
        head, length, pseudo = known
        self._last, self._last_found = (list(key), (head, length)) if remembered else ([], (None, -1))
        if changing:
            # RFC 9113 §8.3: pseudo-headers first. They are so in the key; a varying field before one would move it.
            if fields[pseudo - 1] is not key[pseudo - 1]:
                check_request(fields)
            check_values(changing)
            head = self._interpreter.refine(head, changing)
        return head, length

    def _learn(self, key: tuple[Field, ...], *, remembered: bool) -> tuple[Any, int, int]:
        length = check_request(key)
        pseudo = sum(field[0][:1] == b":" for field in key)
        known = self._interpreter.read(key), length, pseudo
        if remembered:
            if len(self._heads) >= _MOST:
                self._heads.clear()
            self._heads[key] = known
        return known

    def trailers(self, block: bytes) -> None:
        """Check the trailers of a request; gRPC has no use for them."""
        self.forget()
        check_trailers(self._decode(block))

    def skip(self, block: bytes) -> None:
        """Decode for the sake of the table: every block must be (RFC 9113 §4.3)."""
        self.forget()
        self._decode(block)


def small(fields: Sequence[Field]) -> bool:
    """Tell whether a header list may be remembered. Its block, which names fields by number, can be far smaller."""
    return sum([len(name) + len(value) + _FIELD_BYTES for name, value, _ in fields]) <= _SMALL


def leaves_table(block: bytes) -> bool:
    """Tell whether what a block ends in is nothing but short literals that are not indexed, with their names."""
    position, size = 0, len(block)
    if size > _END_BYTES:
        return False
    while position < size:
        value = position + 2 + (block[position + 1] & _STRING_BYTES) if position + 1 < size else size
        if block[position] & _INDEXES or value >= size:
            return False
        following = value + 1 + (block[value] & _STRING_BYTES)
        # A length of 127 goes on in the next byte.
        if following - value > _STRING_BYTES or value - position > _STRING_BYTES + 1:
            return False
        position = following
    return position == size
