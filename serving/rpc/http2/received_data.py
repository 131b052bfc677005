"""DATA (RFC 9113 §6.1) against our windows, which count padding too."""

from serving.rpc.http2 import frames
from serving.rpc.http2.codes import ConnectionFault, ErrorCode, StreamFault
from serving.rpc.http2.events import Received
from serving.rpc.http2.padding import unpadded
from serving.rpc.http2.received_headers import check_content
from serving.rpc.http2.session import Session
from serving.rpc.http2.streams import Happening, State, Stream


def on_data(session: Session, flags: int, stream_id: int, payload: bytes) -> None:
    """A part of a request."""
    if stream_id == 0:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "DATA: expected a stream")
    count_read(session, len(payload))
    data = unpadded(flags, payload)
    stream = session.find(stream_id)
    if stream is None:
        session.closed(stream_id)
        return
    if stream.state not in {State.OPEN, State.HALF_CLOSED_LOCAL}:
        raise StreamFault(stream_id, ErrorCode.STREAM_CLOSED, "DATA after the end of the request")
    ended = bool(flags & frames.END_STREAM)
    if not data and not ended:
        session.empties.spend()
    _hold(session, stream, len(payload), len(data))
    if ended:
        check_content(stream)
        stream.move(Happening.RECEIVED_END)
    session.events.append(Received(stream, data, ended))


def count_read(session: Session, size: int) -> None:
    """Count against the connection's window, which each read refills: only a peer that ignores it meets its end."""
    session.read_window -= size
    session.owed += size
    if session.read_window < 0:
        raise ConnectionFault(
            ErrorCode.FLOW_CONTROL_ERROR, "DATA beyond the connection's window", limit="connection_window"
        )


def _hold(session: Session, stream: Stream, size: int, useful: int) -> None:
    stream.read_window -= size
    if stream.read_window < 0:
        raise StreamFault(
            stream.id, ErrorCode.FLOW_CONTROL_ERROR, "DATA beyond the stream's window", limit="stream_window"
        )
    stream.owed += size
    stream.received += useful
    if 0 <= stream.announced < stream.received:
        check_content(stream)
    stream.held += useful
    session.buffered += useful
    session.received += useful
    if session.buffered + session.outbox.queued > session.limits.buffered_bytes:
        raise StreamFault(stream.id, ErrorCode.ENHANCE_YOUR_CALM, "too much buffered", limit="buffered_bytes")
