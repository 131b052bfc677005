"""HTTP/2 frames of a client (RFC 9113 §4.1 and §6): what is sent, as bytes."""

from struct import Struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
WITH_PRIORITY = 0x20
WHOLE = END_STREAM | END_HEADERS
HEADER = Struct(">BHBBI")
"""Length as its upper 8 and lower 16 bits, type, flags, stream."""
HEADER_BYTES = HEADER.size
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = range(1, 6)
PROTOCOL_WINDOW = 65_535
PROTOCOL_FRAME = 16_384
PROTOCOL_TABLE = 4_096
LAST_STREAM = (1 << 31) - 1
_SETTING = Struct(">HI")
_WORD = Struct(">I")


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return a frame of any kind."""
    size = len(payload)
    return HEADER.pack(size >> 16, size & 0xFFFF, kind, flags, stream) + payload


def settings(values: dict[int, int]) -> bytes:
    """Return SETTINGS."""
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(name, value) for name, value in values.items()))


def read_settings(payload: bytes) -> dict[int, int]:
    """Return what a peer's SETTINGS say."""
    whole = len(payload) - len(payload) % _SETTING.size
    return dict(_SETTING.iter_unpack(payload[:whole]))


def window_update(stream: int, increment: int) -> bytes:
    """Return WINDOW_UPDATE; stream 0 is the connection."""
    return frame(WINDOW_UPDATE, 0, stream, _WORD.pack(increment))


def read_word(payload: bytes) -> int:
    """Return the first 31 bits of a payload: an increment, a last stream, an error code."""
    word: int = _WORD.unpack_from(payload)[0]
    return word & LAST_STREAM


def unpadded(payload: bytes, flags: int) -> bytes:
    """Return the payload of DATA or HEADERS without padding and priority."""
    start, end = 0, len(payload)
    if flags & PADDED:
        start, end = 1, end - payload[0]
    if flags & WITH_PRIORITY:
        start += 5
    return payload[start:end]
