"""HEADERS and CONTINUATION (RFC 9113 §6.2, §6.10): assemble a header block, then begin a request or end one."""

from serving.rpc.http2 import frames
from serving.rpc.http2.codes import ConnectionFault, ErrorCode, StreamFault
from serving.rpc.http2.events import Opened, Received
from serving.rpc.http2.fields import MalformedError
from serving.rpc.http2.padding import unpadded
from serving.rpc.http2.session import PartialBlock, Session
from serving.rpc.http2.streams import Happening, State, Stream

_PRIORITY_BYTES = 5


def on_headers(session: Session, flags: int, stream_id: int, payload: bytes) -> None:
    """A header block, or the first part of one."""
    if stream_id % 2 == 0:
        # RFC 9113 §5.1.1: clients open odd streams.
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"HEADERS: expected an odd stream, got {stream_id}")
    block = unpadded(flags, payload)
    fault = None
    if flags & frames.WITH_PRIORITY:
        if len(block) < _PRIORITY_BYTES:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "HEADERS: expected 5 bytes of priority")
        fault = self_dependency(stream_id, block)
        block = block[_PRIORITY_BYTES:]
    end = bool(flags & frames.END_STREAM)
    if len(block) > session.limits.header_list_bytes:
        raise _too_large()
    if flags & frames.END_HEADERS:
        on_block(session, stream_id, block, end=end, fault=fault)
    else:
        session.partial = PartialBlock(stream_id, block, end=end, fault=fault)


def on_continuation(session: Session, flags: int, stream_id: int, payload: bytes) -> None:
    """One more part."""
    partial = session.partial
    if partial is None:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "CONTINUATION: expected a header block before it")
    partial.block += payload
    partial.count += 1
    if partial.count > session.limits.continuations:
        raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many CONTINUATION", limit="continuations")
    if len(partial.block) > session.limits.header_list_bytes:
        raise _too_large()
    if flags & frames.END_HEADERS:
        session.partial = None
        on_block(session, stream_id, partial.block, end=partial.end, fault=partial.fault)
    elif not payload:
        session.empties.spend()


def on_block(session: Session, stream_id: int, block: bytes, *, end: bool, fault: StreamFault | None = None) -> None:
    """A whole block. It is decoded whatever becomes of its stream, for the sake of the table."""
    stream = session.find(stream_id)
    if stream is not None:
        _trailers(session, stream, block, end=end)
    elif stream_id <= session.last_id:
        session.closed(stream_id)
        session.blocks.skip(block)
    elif stream_id > session.accept_up_to:
        session.blocks.skip(block)
        session.moved_to(stream_id)
    else:
        session.moved_to(stream_id)
        _request(session, stream_id, block, end=end, fault=fault)


def _request(session: Session, stream_id: int, block: bytes, *, end: bool, fault: StreamFault | None) -> None:
    try:
        head, announced = session.blocks.request(block)
    except MalformedError as error:
        raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR, str(error)) from error
    if fault is not None:
        raise fault
    check_room(session, stream_id)
    if end and announced > 0:
        raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR, f"content-length: expected 0, got {announced}")
    session.honest.calls += 1
    state = State.HALF_CLOSED_REMOTE if end else State.OPEN
    session.events.append(Opened(session.open(stream_id, state, announced), head, end))


def check_room(session: Session, stream_id: int) -> None:
    """StreamFault when one more request is too much; REFUSED_STREAM says that it may be tried again elsewhere."""
    limits = session.limits
    if session.running + len(session.complete) >= limits.concurrent_streams:
        raise StreamFault(stream_id, ErrorCode.REFUSED_STREAM, "too many streams", limit="concurrent_streams")
    if session.buffered + session.outbox.queued > limits.buffered_bytes:
        raise StreamFault(stream_id, ErrorCode.REFUSED_STREAM, "too much buffered", limit="buffered_bytes")


def _trailers(session: Session, stream: Stream, block: bytes, *, end: bool) -> None:
    if stream.state is State.HALF_CLOSED_REMOTE:
        session.blocks.skip(block)
        raise StreamFault(stream.id, ErrorCode.STREAM_CLOSED, "HEADERS after the end of the request")
    try:
        session.blocks.trailers(block)
    except MalformedError as error:
        raise StreamFault(stream.id, ErrorCode.PROTOCOL_ERROR, str(error)) from error
    if not end:
        raise StreamFault(stream.id, ErrorCode.PROTOCOL_ERROR, "trailers: expected END_STREAM")
    check_content(stream)
    stream.move(Happening.RECEIVED_END)
    session.events.append(Received(stream, b"", ended=True))


def check_content(stream: Stream) -> None:
    """RFC 9113 §8.1.1: as long as content-length said."""
    if stream.announced not in {-1, stream.received}:
        words = f"content-length: expected {stream.announced} bytes, got {stream.received}"
        raise StreamFault(stream.id, ErrorCode.PROTOCOL_ERROR, words)


def self_dependency(stream_id: int, priority: bytes) -> StreamFault | None:
    """RFC 7540 §5.3.1; priorities themselves are ignored (RFC 9113 §5.3.2)."""
    if int.from_bytes(priority[:4], "big") & frames.STREAM_MASK != stream_id:
        return None
    return StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR, "priority: expected another stream to depend on")


def _too_large() -> ConnectionFault:
    return ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "header block too large", limit="header_list_bytes")
