"""The usual request, recognised by hand: HEADERS of the next stream, then one DATA frame that ends it.

Between them, clients made of gRPC core give the stream a larger window, and after them, the connection.
"""

from struct import Struct

from serving.rpc.http2.codes import ErrorCode, StreamFault
from serving.rpc.http2.fields import MalformedError
from serving.rpc.http2.frames import DATA, END_HEADERS, END_STREAM, HEADER_BYTES, HEADERS, WINDOW_UPDATE
from serving.rpc.http2.limits import MAX_WINDOW
from serving.rpc.http2.session import Session

_unpack = Struct(">BHHI").unpack_from
"""As frames.HEADER, with type and flags as one number."""
_HEADERS = HEADERS << 8 | END_HEADERS
_DATA = DATA << 8 | END_STREAM
_WORD_BYTES = 4
_UPDATE_BYTES = HEADER_BYTES + _WORD_BYTES
_LEAST = 2 * HEADER_BYTES


def usual_requests(session: Session, data: bytes, position: int, room: int) -> int:
    """Make usual requests from there on `complete`, until there are `room`; return where something else begins.

    To be called between header blocks, after the peer's first SETTINGS. ConnectionFault.
    """
    limits, complete, blocks = session.limits, session.complete, session.blocks
    most, most_id, known = min(limits.frame_bytes, limits.stream_window), session.accept_up_to, blocks.known
    expected = first = session.next_id
    last, taken = len(data) - HEADER_BYTES, 0
    try:
        while position + HEADER_BYTES <= last:
            high, length, kind, stream_id = _unpack(data, position)
            start = position + HEADER_BYTES
            body = end = start + length
            if kind != _HEADERS or stream_id != expected or high or end > last:
                break
            granted = 0
            if data[end + 3] == WINDOW_UPDATE:
                body += _UPDATE_BYTES
                granted = _granted(data, end, stream_id, session.outbox.stream_window) if body <= last else -1
                if granted < 0:
                    break
            high, size, kind, data_id = _unpack(data, body)
            content = body + HEADER_BYTES
            finish = content + size
            if (
                kind != _DATA
                or data_id != expected
                or high
                or size > most
                or finish > last + HEADER_BYTES
                or length > session.most_block
                or expected > most_id
                or len(complete) >= room
            ):
                break
            block = data[start:end]
            try:
                found = known.get(block) or blocks.request(block)
            except MalformedError as error:
                expected, position = expected + 2, end
                session.fault(StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR, str(error)))
                break
            expected, position, taken = expected + 2, finish, taken + size
            if found[1] == -1 or found[1] == size:
                complete[stream_id] = (found[0], data[content:finish], granted)
            else:
                session.fault(StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR, "content-length: got another"))
    finally:
        if expected != first:
            session.last_id, session.next_id = expected - 2, expected
            session.read_window -= taken
            session.owed += taken
    return position


def _granted(data: bytes, position: int, stream_id: int, window: int) -> int:
    """Return what a WINDOW_UPDATE adds to the stream's window; -1 for one that the long way has to look at."""
    high, length, _, of_stream = _unpack(data, position)
    increment = int.from_bytes(data[position + HEADER_BYTES : position + _UPDATE_BYTES], "big")
    usual = of_stream == stream_id and length == _WORD_BYTES and not high and 0 < increment <= MAX_WINDOW - window
    return increment if usual else -1
