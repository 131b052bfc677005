"""Bytes to frames, and each frame to its handler (RFC 9113 §4.1); the usual request is recognised on the way."""

from serving.rpc.http2 import frames
from serving.rpc.http2.codes import ConnectionFault, ErrorCode, StreamFault
from serving.rpc.http2.fields import MalformedError
from serving.rpc.http2.frames import HEADER_BYTES, PREFACE, STREAM_MASK
from serving.rpc.http2.limits import MAX_WINDOW
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

_HANDLERS = (
    on_data, on_headers, on_priority, on_rst_stream, on_settings, on_push_promise, on_ping, on_goaway,
    on_window_update, on_continuation,
)  # fmt: skip
_KNOWN = len(_HANDLERS)
_unpack = frames.HEADER.unpack_from


_UPDATE_BYTES = HEADER_BYTES + 4


def _granted(data: bytes, position: int, stream_id: int, window: int) -> int:
    """Return what a WINDOW_UPDATE adds to the stream's window; -1 for one that the long way has to look at."""
    high, length, _, _, of_stream = _unpack(data, position)
    increment = int.from_bytes(data[position + HEADER_BYTES : position + _UPDATE_BYTES], "big")
    usual = of_stream == stream_id and length == 4 and not high and 0 < increment <= MAX_WINDOW - window  # noqa: PLR2004
    return increment if usual else -1


class FrameReader:
    """One connection's. `greeted`: the preface and the peer's first SETTINGS came."""

    def __init__(self, session: Session) -> None:
        self.greeted = False
        self._session = session
        self._limits = session.limits
        self._most_block = min(session.limits.frame_bytes, session.limits.header_list_bytes)
        self._prefaced = False

    def read(self, data: bytes) -> int:  # noqa: C901, PLR0912, PLR0915 - by hand, see below
        """Handle every whole frame; return where the next begins. ConnectionFault."""
        session, limits, position, size = self._session, self._limits, 0, len(data)
        if not self._prefaced:
            if not PREFACE.startswith(data[: len(PREFACE)]):
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "expected HTTP/2's preface")
            if size < len(PREFACE):
                return 0
            self._prefaced, position = True, len(PREFACE)
        most, most_block, complete, blocks = limits.frame_bytes, self._most_block, session.complete, session.blocks
        known, room = blocks.known, self._room()
        while size - position >= HEADER_BYTES:
            high, length, kind, flags, stream_id = _unpack(data, position)
            start = position + HEADER_BYTES
            end = start + length
            # The usual case, by hand: HEADERS of the next stream, then a DATA frame that ends it. Between them, clients
            # made of gRPC core give the stream a larger window, and after them, the connection.
            if kind == 1 and flags == 4 and not high and size >= end + HEADER_BYTES:  # noqa: PLR2004 - END_HEADERS
                body, granted = end, 0
                if data[end + 3] == 8 and size >= end + _UPDATE_BYTES + HEADER_BYTES:  # noqa: PLR2004 - WINDOW_UPDATE
                    window = session.outbox.stream_window
                    granted, body = _granted(data, end, stream_id, window), end + _UPDATE_BYTES
                data_high, data_length, data_kind, data_flags, data_stream = _unpack(data, body)
                content = body + HEADER_BYTES
                finish = content + data_length
                if (
                    length <= most_block
                    and data_kind == 0
                    and data_flags == 1
                    and data_stream == stream_id
                    and not data_high
                    and data_length <= most
                    and finish <= size
                    and stream_id == session.next_id
                    and stream_id <= session.accept_up_to
                    and granted >= 0
                    and session.partial is None
                    and self.greeted
                    and len(complete) < room
                ):
                    block = data[start:end]
                    try:
                        found = known.get(block) or blocks.request(block)
                    except MalformedError as error:
                        session.moved_to(stream_id)
                        position = end
                        session.fault(StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR, str(error)))
                        continue
                    session.last_id, session.next_id = stream_id, stream_id + 2
                    session.read_window -= data_length
                    session.owed += data_length
                    position = finish
                    if found[1] in {-1, data_length}:
                        complete[stream_id] = (found[0], data[content:finish], granted)
                    else:
                        session.fault(StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR, "content-length: got another"))
                    continue
            length |= high << 16
            if length > most:
                words = f"a frame: expected at most {most} bytes, got {length}"
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, words, limit="frame_bytes")
            end = start + length
            if end > size:
                break
            position = end
            if kind == 8 and not stream_id and self.greeted and session.partial is None:  # noqa: PLR2004 - WINDOW_UPDATE
                on_window_update(session, flags, 0, data[start:end])
                continue
            try:
                self._frame(kind, flags, stream_id & STREAM_MASK, data[start:end])
            except StreamFault as fault:
                session.fault(fault)
            room = self._room()
        return position

    def _room(self) -> int:
        """How many requests may be complete; 0 sends one more the long way, which refuses it."""
        session = self._session
        if session.buffered + session.outbox.queued > self._limits.buffered_bytes:
            return 0
        return self._limits.concurrent_streams - len(session.streams)

    def _frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        partial = self._session.partial
        if partial is not None and (kind != frames.CONTINUATION or stream_id != partial.stream_id):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "expected CONTINUATION of the same stream")
        if not self.greeted:
            if kind != frames.SETTINGS or flags & frames.ACK:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "expected SETTINGS after the preface")
            self.greeted = True
        (_HANDLERS[kind] if kind < _KNOWN else on_unknown)(self._session, flags, stream_id, payload)
