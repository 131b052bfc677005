"""Frames as bytes (RFC 9113 §4.1 and §6): the constants, and one function for each kind that a server sends."""

from struct import Struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)

END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
WITH_PRIORITY = 0x20

HEADER = Struct(">BHBBI")
"""Length (as its upper 8 and lower 16 bits), type, flags, stream (with a reserved bit that is ignored)."""
HEADER_BYTES = HEADER.size
STREAM_MASK = 0x7FFF_FFFF

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = (
    range(1, 7)
)
SETTING = Struct(">HI")
_WORD = Struct(">I")
_TWO_WORDS = Struct(">II")


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """Return a frame of any kind."""
    length = len(payload)
    return HEADER.pack(length >> 16, length & 0xFFFF, kind, flags, stream_id) + payload


def data_header(length: int, flags: int, stream_id: int) -> bytes:
    """Return the header of a DATA frame, whose payload is then written apart, uncopied."""
    return HEADER.pack(length >> 16, length & 0xFFFF, DATA, flags, stream_id)


def headers(stream_id: int, block: bytes, *, end: bool, frame_bytes: int) -> bytes:
    """Return a header block as HEADERS and as many CONTINUATION as it needs."""
    flags = END_STREAM if end else 0
    if len(block) <= frame_bytes:
        return frame(HEADERS, flags | END_HEADERS, stream_id, block)
    parts = [block[start : start + frame_bytes] for start in range(0, len(block), frame_bytes)]
    last = len(parts) - 1
    return frame(HEADERS, flags, stream_id, parts[0]) + b"".join(
        frame(CONTINUATION, END_HEADERS if number == last else 0, stream_id, part)
        for number, part in enumerate(parts)
        if number
    )


def settings(values: dict[int, int]) -> bytes:
    """Return SETTINGS."""
    return frame(SETTINGS, 0, 0, b"".join(SETTING.pack(name, value) for name, value in values.items()))


def rst_stream(stream_id: int, code: int) -> bytes:
    """Return RST_STREAM."""
    return frame(RST_STREAM, 0, stream_id, _WORD.pack(code))


def window_update(stream_id: int, increment: int) -> bytes:
    """Return WINDOW_UPDATE; stream 0 is the connection."""
    return frame(WINDOW_UPDATE, 0, stream_id, _WORD.pack(increment))


def goaway(last_stream_id: int, code: int, words: str = "") -> bytes:
    """Return GOAWAY; `words` are for whoever debugs the peer."""
    return frame(GOAWAY, 0, 0, _TWO_WORDS.pack(last_stream_id, code) + words.encode()[:200])


SETTINGS_ACK = frame(SETTINGS, ACK, 0)
