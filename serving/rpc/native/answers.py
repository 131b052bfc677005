"""Responses as header blocks: constants where nothing varies (gRPC over HTTP/2: "Responses")."""

from functools import lru_cache
from struct import Struct

from serving.recommend.ready import Ready
from serving.rpc.errors import Code
from serving.rpc.http2 import frames
from serving.rpc.http2.connection import Connection
from serving.rpc.http2.literals import block
from serving.rpc.http2.outbox import Outbox
from serving.rpc.http2.streams import Stream
from serving.rpc.method import Metadata
from serving.rpc.native.messages import ENCODINGS, PREFIX
from serving.rpc.native.metadata import percent, write_metadata

_OPENING = ((b":status", b"200"), (b"content-type", b"application/grpc"))
OPENING = block(_OPENING)
CLOSING = block(((b"grpc-status", b"0"),))


def opening(metadata: Metadata, encoding: bytes = b"") -> bytes:
    """Return the block before the first message."""
    if not metadata and not encoding:
        return OPENING
    chosen = ((b"grpc-encoding", encoding),) if encoding else ()
    return block((*_OPENING, *chosen, *write_metadata(metadata)))


def closing(code: Code, message: str = "", details: bytes = b"", metadata: Metadata = ()) -> bytes:
    """Return the trailers."""
    if code is Code.OK and not message and not details and not metadata:
        return CLOSING
    return block(_status(code, message, details, metadata))


@lru_cache(256)
def refusal(code: Code, message: str = "", details: bytes = b"", metadata: Metadata = ()) -> bytes:
    """Return opening and trailers in one block ("Trailers-Only")."""
    offered = ((b"grpc-accept-encoding", ENCODINGS),) if code is Code.UNIMPLEMENTED else ()
    return block((*_OPENING, *offered, *_status(code, message, details, metadata)))


@lru_cache(256)
def refused(code: Code, message: str) -> tuple[bytes, bytes]:
    """Return the frame of a refusal, cut where the stream's id stands, for `whole`."""
    answer = refusal(code, message)
    flags = frames.END_HEADERS | frames.END_STREAM
    return frames.HEADER.pack(0, len(answer), frames.HEADERS, flags, 0)[:5], answer


def plain(status: bytes, *more: tuple[bytes, bytes]) -> bytes:
    """Return the opening block for whoever does not speak gRPC."""
    return block(((b":status", status), (b"content-type", b"text/plain"), *more))


def _status(code: Code, message: str, details: bytes, metadata: Metadata) -> list[tuple[bytes, bytes]]:
    fields = [(b"grpc-status", b"%d" % code)]
    if message:
        fields.append((b"grpc-message", percent(message[:4096])))
    if details:
        fields += write_metadata((("grpc-status-details-bin", details),))
    return [*fields, *write_metadata(metadata)]


_FIRST = frames.HEADER.pack(0, len(OPENING), frames.HEADERS, frames.END_HEADERS, 0)[:5]
_LAST = frames.HEADER.pack(0, len(CLOSING), frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, 0)[:5]


_ID = Struct(">I")


def whole(stream_id: int, cut: tuple[bytes, ...]) -> bytes:
    """Return the response that was cut into pieces, for a stream."""
    return _ID.pack(stream_id).join(cut)


_BEFORE = Struct(f">5sI{len(OPENING)}sBHBBIBI")
_AFTER = Struct(f">5sI{len(CLOSING)}s")


def once(stream_id: int, message: bytes) -> bytes:
    """Return a whole response with one message that is not sent again: faster than `whole` of its `pieces`."""
    size = len(message)
    framed = size + PREFIX.size
    before = _BEFORE.pack(_FIRST, stream_id, OPENING, framed >> 16, framed & 0xFFFF, frames.DATA, 0, stream_id, 0, size)
    return b"".join((before, message, _AFTER.pack(_LAST, stream_id, CLOSING)))


def pieces(message: bytes) -> tuple[bytes, ...]:
    """Return a whole response with one message, cut where the stream's id stands: it joins them."""
    framed = len(message) + PREFIX.size
    data = frames.HEADER.pack(framed >> 16, framed & 0xFFFF, frames.DATA, 0, 0)[:5]
    return _FIRST, OPENING + data, PREFIX.pack(0, len(message)) + message + _LAST, CLOSING


def put(connection: Connection, stream_id: int, ready: Ready) -> None:
    """Answer a request that was whole in this read; what the windows do not allow now is queued."""
    if not connection.outbox.claim(len(ready.message) + PREFIX.size):
        queue(connection.outbox, connection.adopt(stream_id), ready.message)
        return
    if not ready.carried:
        ready.carried = pieces(ready.message)
    connection.outbox.chunks.append(whole(stream_id, ready.carried))


def queue(outbox: Outbox, stream: Stream, message: bytes) -> None:
    """Send a whole response with one message, as the windows allow."""
    outbox.headers(stream, OPENING, end=False)
    outbox.data(stream, PREFIX.pack(0, len(message)) + message)
    outbox.close(stream, CLOSING)
