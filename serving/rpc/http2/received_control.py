"""SETTINGS, PING, WINDOW_UPDATE, RST_STREAM, PRIORITY, GOAWAY, PUSH_PROMISE and what nobody knows (RFC 9113 §6)."""

from serving.rpc.http2 import frames
from serving.rpc.http2.codes import ConnectionFault, ErrorCode, StreamFault
from serving.rpc.http2.events import Ponged, Reset
from serving.rpc.http2.limits import MAX_FRAME, MAX_WINDOW, MIN_FRAME
from serving.rpc.http2.received_headers import self_dependency
from serving.rpc.http2.session import Session

_PING_BYTES = 8
_PRIORITY_BYTES = 5
_WORD_BYTES = 4


def on_settings(session: Session, flags: int, stream_id: int, payload: bytes) -> None:
    """§6.5: applied in order, then acknowledged."""
    _of_connection("SETTINGS", stream_id)
    if flags & frames.ACK:
        if payload:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS with ACK: expected no payload")
        session.controls.spend()
        return
    if len(payload) % frames.SETTING.size:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS: expected a multiple of 6 bytes")
    session.controls.spend()
    for name, value in frames.SETTING.iter_unpack(payload):
        _apply(session, name, value)
    session.outbox.chunks.append(frames.SETTINGS_ACK)
    for stream in tuple(session.streams.values()):
        session.outbox.stream_opened(stream)  # what a larger window lets out comes after the ACK


def _apply(session: Session, name: int, value: int) -> None:
    outbox = session.outbox
    if name == frames.ENABLE_PUSH and value > 1:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"SETTINGS_ENABLE_PUSH: expected 0 or 1, got {value}")
    if name == frames.INITIAL_WINDOW_SIZE:
        if value > MAX_WINDOW:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "SETTINGS_INITIAL_WINDOW_SIZE: expected below 2^31")
        change = value - outbox.stream_window
        granted = [each for each, (_, _, increment) in session.complete.items() if increment]
        granted += [each for each, (_, increment) in session.kept.items() if increment]
        for stream_id in granted:
            session.adopt(stream_id)  # with a window of its own, which may overflow
        outbox.stream_window = value
        for stream in session.streams.values():
            if stream.window + change > MAX_WINDOW:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "SETTINGS_INITIAL_WINDOW_SIZE overflows a window")
            stream.window += change
    elif name == frames.MAX_FRAME_SIZE:
        if not MIN_FRAME <= value <= MAX_FRAME:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "SETTINGS_MAX_FRAME_SIZE: expected 2^14 to 2^24-1")
        outbox.frame_bytes = value
    # HEADER_TABLE_SIZE: our blocks use no dynamic table. MAX_CONCURRENT_STREAMS: we open none. Others: unknown.


def on_ping(session: Session, flags: int, stream_id: int, payload: bytes) -> None:
    """§6.7."""
    _of_connection("PING", stream_id)
    _length("PING", payload, _PING_BYTES)
    session.controls.spend()
    if flags & frames.ACK:
        session.events.append(Ponged(payload))
        return
    session.outbox.chunks.append(frames.frame(frames.PING, frames.ACK, 0, payload))


def on_window_update(session: Session, _flags: int, stream_id: int, payload: bytes) -> None:
    """§6.9."""
    _length("WINDOW_UPDATE", payload, _WORD_BYTES)
    session.updates.spend()
    increment = int.from_bytes(payload, "big") & MAX_WINDOW
    if stream_id == 0:
        if increment == 0:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE: expected an increment")
        session.outbox.window += increment
        if session.outbox.window > MAX_WINDOW:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "WINDOW_UPDATE: expected a window below 2^31")
        session.outbox.opened()
        return
    stream = session.find(stream_id)
    if stream is None:
        _not_idle(session, "WINDOW_UPDATE", stream_id)
        return
    if increment == 0:
        raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE: expected an increment")
    if stream.window + increment > MAX_WINDOW:
        raise StreamFault(stream_id, ErrorCode.FLOW_CONTROL_ERROR, "WINDOW_UPDATE: expected a window below 2^31")
    stream.window += increment
    session.outbox.stream_opened(stream)


def on_rst_stream(session: Session, _flags: int, stream_id: int, payload: bytes) -> None:
    """§6.4. Even of a stream that was answered already: that is what a rapid reset looks like from here."""
    _length("RST_STREAM", payload, _WORD_BYTES)
    _not_idle(session, "RST_STREAM", stream_id)
    session.resets.spend()
    stream = session.drop(stream_id)
    if stream is not None:
        session.events.append(Reset(stream, int.from_bytes(payload, "big")))


def on_priority(session: Session, _flags: int, stream_id: int, payload: bytes) -> None:
    """§6.3: checked and ignored."""
    if stream_id == 0:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PRIORITY: expected a stream")
    session.controls.spend()
    if len(payload) != _PRIORITY_BYTES:
        raise StreamFault(stream_id, ErrorCode.FRAME_SIZE_ERROR, "PRIORITY: expected 5 bytes")
    fault = self_dependency(stream_id, payload)
    if fault is not None:
        raise fault


def on_goaway(session: Session, _flags: int, stream_id: int, _payload: bytes) -> None:
    """§6.8: the peer opens nothing more; what it opened is answered."""
    _of_connection("GOAWAY", stream_id)
    session.controls.spend()


def on_push_promise(_session: Session, _flags: int, _stream_id: int, _payload: bytes) -> None:
    """§8.4: clients push nothing."""
    raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PUSH_PROMISE: expected none of a client")


def on_unknown(session: Session, _flags: int, _stream_id: int, _payload: bytes) -> None:
    """§4.1: ignored."""
    session.controls.spend()


def _of_connection(name: str, stream_id: int) -> None:
    if stream_id:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"{name}: expected stream 0, got {stream_id}")


def _length(name: str, payload: bytes, expected: int) -> None:
    if len(payload) != expected:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"{name}: expected {expected} bytes, got {len(payload)}")


def _not_idle(session: Session, name: str, stream_id: int) -> None:
    if stream_id == 0 or stream_id > session.last_id:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"{name}: expected a stream that was opened")
