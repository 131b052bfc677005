"""Length-prefixed messages in a stream of bytes, and their compression, as "gRPC over HTTP/2" has them."""

import zlib
from struct import Struct

from serving.rpc.errors import Code, StatusError

PREFIX = Struct(">BI")
"""Whether it is compressed, and its length."""
_WBITS = {b"gzip": 31, b"deflate": 15}
ENCODINGS = b"identity,deflate,gzip"


class TooLargeError(StatusError):
    """A message beyond `max_message_bytes`."""

    def __init__(self, words: str) -> None:
        super().__init__(Code.RESOURCE_EXHAUSTED, words)


Framed = tuple[int, bytes]
"""A message as it came: whether it is compressed, and its bytes."""

MESSAGE_BYTES = 64
"""What a message that waits costs beside its bytes: a pair, and its place in a queue. Empty ones cost nothing else."""


class Messages:
    """Takes bytes as they come, gives whole messages; StatusError for one that is too large, before its bytes come.

    They stay compressed until somebody takes them: what waits costs no more than the peer sent.
    """

    __slots__ = ("_buffer", "_encoding", "_most")

    def __init__(self, most: int, encoding: bytes) -> None:
        self._buffer = bytearray()
        self._most = most
        self._encoding = encoding

    def feed(self, data: bytes) -> list[Framed]:
        """Return the messages that are whole now."""
        buffer = self._buffer
        buffer += data
        found, position = [], 0
        while len(buffer) - position >= PREFIX.size:
            flag, length = PREFIX.unpack_from(buffer, position)
            check_prefix(flag, length, self._most)
            start = position + PREFIX.size
            if len(buffer) - start < length:
                break
            position = start + length
            found.append((flag, bytes(buffer[start:position])))
        del buffer[:position]
        return found

    def plain(self, framed: Framed) -> bytes:
        """Return the bytes of a message, decompressed; StatusError."""
        flag, message = framed
        return decompress(message, self._encoding, self._most) if flag else message

    @property
    def partial(self) -> bool:
        """Whether a message has begun and not ended."""
        return bool(self._buffer)


def check_prefix(flag: int, length: int, most: int) -> None:
    """StatusError for what no message may begin with."""
    if flag > 1:
        raise StatusError(Code.INTERNAL, f"message: expected a flag of 0 or 1, got {flag}")
    if length > most:
        raise TooLargeError(f"message: expected at most {most} bytes, got {length}")


def decompress(data: bytes, encoding: bytes, most: int) -> bytes:
    """Return what was compressed, never more than `most` bytes of it; StatusError."""
    wbits = _WBITS.get(encoding)
    if wbits is None:
        raise StatusError(Code.INTERNAL, "message: expected grpc-encoding with a compressed message")
    machine = zlib.decompressobj(wbits)
    try:
        found = machine.decompress(data, most + 1)
    except zlib.error as error:
        raise StatusError(Code.INTERNAL, f"message: expected {encoding.decode()} data") from error
    if len(found) > most:
        raise TooLargeError(f"message: expected at most {most} bytes when decompressed")
    if not machine.eof:
        raise StatusError(Code.INTERNAL, f"message: expected whole {encoding.decode()} data")
    return found


def compress(data: bytes, encoding: bytes) -> bytes:
    """Return the compressed form."""
    machine = zlib.compressobj(1, wbits=_WBITS[encoding])
    return machine.compress(data) + machine.flush()
