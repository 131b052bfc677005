"""Conversations to begin from: one of every frame, and of every way to break a rule that a fuzzer would guess late."""

from itertools import product
from struct import pack

import hpack

from serving.rpc.http2 import frames
from serving.rpc.http2.frames import frame
from tests.fuzz.target import PATH, RAW, SILENT, SMALL, WHOLE
from tests.fuzz.whole import HANDLERS

_FIELDS = [
    (":method", "POST"), (":scheme", "http"), (":path", PATH), ("te", "trailers"), ("content-type", "application/grpc"),
]  # fmt: skip
_BODY = b"\0\0\0\0\0"
_GZIP = bytes.fromhex("1f8b08000000000002ff0300000000000000000000")


def seeds() -> list[bytes]:
    """Each peer's part, to every kind of connection and to several scripts."""
    made = [bytes((mode, script)) + said for mode in (0, SMALL, SILENT) for script in (0, 0x35) for said in _said()]
    return [
        *made,
        *(bytes(way) + _served(path) for path in HANDLERS for way in product((WHOLE, WHOLE + SMALL), (4, 25))),
        bytes((RAW, 0)) + frames.PREFACE + frames.settings({4: 0, 5: 1 << 20}),
        b"\1\0GET / HTTP/1.1\r\n\r\n",
    ]


def _served(path: str) -> bytes:
    """Calls of one method: whole in a read with messages of every length, cut, timed, and reset."""
    encoder = hpack.Encoder()
    fields = [(name, path if name == ":path" else value) for name, value in _FIELDS]
    heads = [encoder.encode(fields) for _ in range(8)]
    timed = encoder.encode([*fields, hpack.NeverIndexedHeaderTuple("grpc-timeout", "9S")])
    bodies = [pack(">BI", 0, size + 2) + b"\x0a" + bytes((size,)) + b"x" * size for size in range(4)] + [_BODY]
    calls = [_head(1 + 2 * at, heads[at]) + _data(1 + 2 * at, body, end=True) for at, body in enumerate(bodies)]
    cut = _head(13, heads[6]) + _data(13, bodies[3][:4]) + _data(13, bodies[3][4:]) + _data(13, bodies[1], end=True)
    reset = _head(15, heads[7]) + _data(15, bodies[3], end=True) + frames.rst_stream(15, 8)
    again = _head(17, timed) + _data(17, bodies[0], end=True)
    return b"".join(calls) + cut + reset + again + frame(frames.PING, frames.ACK, 0, b"goingway")


def _said() -> list[bytes]:
    encoder = hpack.Encoder()
    first, again = encoder.encode(_FIELDS), encoder.encode(_FIELDS)
    timed = encoder.encode([*_FIELDS, ("grpc-timeout", "5S"), ("x-bin", "AAA=")])
    typed = encoder.encode([*_FIELDS, ("grpc-encoding", "gzip"), ("content-length", str(5 + len(_GZIP)))])
    one = _head(1, first) + _data(1, _BODY, end=True)
    more = _head(3, again) + frames.window_update(3, 1000) + _data(3, _BODY, end=True)
    gzip = _head(7, typed) + _data(7, b"\1" + pack(">I", len(_GZIP)) + _GZIP, end=True)
    last = _head(5, timed, end=True) + frames.rst_stream(5, 8)
    cut = frame(frames.HEADERS, 0, 1, first[:9]) + frame(frames.CONTINUATION, frames.END_HEADERS, 1, first[9:])
    padded = frame(frames.DATA, frames.PADDED | frames.END_STREAM, 1, b"\3" + _BODY + bytes(3))
    trailers = frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, 1, encoder.encode([("x", "y")]))
    priority = frame(frames.HEADERS, frames.END_HEADERS | frames.WITH_PRIORITY, 1, pack(">IB", 0, 7) + first)
    return [
        one + more + last + gzip,
        cut + padded + frames.window_update(0, 1 << 20),
        priority + _data(1, _BODY) + trailers,
        frames.settings({4: 0}) + one + frames.window_update(1, 3) + frames.settings({4: 1 << 20}),
        frame(frames.PING, 0, 0, bytes(8)) * 3 + frame(frames.PRIORITY, 0, 9, pack(">IB", 9, 0)) + one,
        one + frames.goaway(0, 0) + frame(0xFA, 0, 0, b"?") + more,
        frames.settings({1: 0, 3: 5, 4: (1 << 31) - 1, 5: 16_384, 6: 100}) + one + more,
        _head(9, first) + _data(9, b"") * 4 + _data(7, _BODY) + frame(frames.PUSH_PROMISE, 4, 1, first),
        _head(1, b"\x3f\xe1\x1f" + first) + _data(1, _BODY * 60) + _data(1, _BODY, end=True),
    ]


def _head(stream_id: int, block: bytes, *, end: bool = False) -> bytes:
    return frames.headers(stream_id, block, end=end, frame_bytes=1 << 14)


def _data(stream_id: int, data: bytes, *, end: bool = False) -> bytes:
    return frame(frames.DATA, frames.END_STREAM if end else 0, stream_id, data)
