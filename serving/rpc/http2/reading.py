"""Bytes to frames, and each frame to its handler (RFC 9113 §4.1); the usual request is recognised on the way."""

from serving.rpc.http2 import frames
from serving.rpc.http2.codes import ConnectionFault, ErrorCode, StreamFault
from serving.rpc.http2.frames import HEADER_BYTES, PREFACE, STREAM_MASK
from serving.rpc.http2.received_control import (
    on_goaway,
    on_ping,
    on_priority,
    on_push_promise,
    on_rst_stream,
    on_settings,
    on_unknown,
    on_window_update,
)
from serving.rpc.http2.received_data import on_data
from serving.rpc.http2.received_headers import on_continuation, on_headers
from serving.rpc.http2.session import Session
from serving.rpc.http2.usual import usual_requests

_HANDLERS = (
    on_data, on_headers, on_priority, on_rst_stream, on_settings, on_push_promise, on_ping, on_goaway,
    on_window_update, on_continuation,
)  # fmt: skip
_KNOWN = len(_HANDLERS)
_unpack = frames.HEADER.unpack_from


class FrameReader:
    """One connection's. `greeted`: the preface and the peer's first SETTINGS came."""

    def __init__(self, session: Session) -> None:
        self.greeted = False
        self._session = session
        self._limits = session.limits
        self._prefaced = False

    def read(self, data: bytes) -> int:
        """Handle every whole frame; return where the next begins. ConnectionFault."""
        session, most, position, size = self._session, self._limits.frame_bytes, 0, len(data)
        if not self._prefaced:
            if not PREFACE.startswith(data[: len(PREFACE)]):
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "expected HTTP/2's preface")
            if size < len(PREFACE):
                return 0
            self._prefaced, position = True, len(PREFACE)
        while size - position >= HEADER_BYTES:
            if data[position + 3] == frames.HEADERS and self.greeted and session.partial is None:
                position = usual_requests(session, data, position, self._room())
                if size - position < HEADER_BYTES:
                    break
            high, length, kind, flags, stream_id = _unpack(data, position)
            length |= high << 16
            if length > most:
                words = f"a frame: expected at most {most} bytes, got {length}"
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, words, limit="frame_bytes")
            start = position + HEADER_BYTES
            end = start + length
            if end > size:
                break
            position = end
            try:
                self._frame(kind, flags, stream_id & STREAM_MASK, data[start:end])
            except StreamFault as fault:
                session.fault(fault)
        return position

    def _room(self) -> int:
        """How many requests may be complete; 0 sends one more the long way, which refuses it."""
        session = self._session
        if session.buffered + session.outbox.queued > self._limits.buffered_bytes:
            return 0
        return self._limits.concurrent_streams - len(session.streams) - len(session.kept)

    def _frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        partial = self._session.partial
        if partial is not None and (kind != frames.CONTINUATION or stream_id != partial.stream_id):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "expected CONTINUATION of the same stream")
        if not self.greeted:
            if kind != frames.SETTINGS or flags & frames.ACK:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "expected SETTINGS after the preface")
            self.greeted = True
        (_HANDLERS[kind] if kind < _KNOWN else on_unknown)(self._session, flags, stream_id, payload)
