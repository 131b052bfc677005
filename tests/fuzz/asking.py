"""Requests that are complete and well-formed: whatever came before, they are answered as long as nothing broke that."""

from collections.abc import Awaitable, Callable
from struct import pack

import hpack
from google.protobuf.wrappers_pb2 import BytesValue

from serving.rpc.http2 import frames
from serving.rpc.http2.connection import Connection
from serving.rpc.http2.limits import MAX_WINDOW
from serving.rpc.http2.literals import block
from tests.fuzz.peer import Peer

_TURNS = 20
_ROOM = 1_000
_FIELDS = (b":method", b"POST"), (b":scheme", b"http"), (b"content-type", b"application/grpc"), (b"te", b"trailers")
OK, SHED = "0", "8"
REQUESTS = (
    ("/t.T/Echo", b"echo", {OK}),
    ("/t.T/Now", b"now", {OK}),
    ("/t.T/Soon", b"one", {OK, SHED}),  # its queue may have been full a moment ago
    ("/t.T/Soon", b"later", {OK, SHED}),
    ("/t.T/Each", b"each", {OK}),
    ("/t.T/All", b"later", {OK, SHED}),
)
"""Path, value, and the statuses that may be the answer's."""


def unbroken(connection: Connection) -> bool:
    """Whether one more request has to be answered: nothing is half said, and there is room for it."""
    session, limits = connection.session, connection.limits
    return (
        not connection.closed
        and not connection.unfinished
        and len(connection.streams) < limits.concurrent_streams
        and session.buffered + session.outbox.queued + 100 <= limits.buffered_bytes
        and session.last_id < session.accept_up_to - 2
    )


async def ask_all(
    connection: Connection, peer: Peer, read: Callable[[bytes], None], turn: Callable[[], Awaitable[None]], cut: int
) -> None:
    """Ask one after the other; AssertionError for one that gets no answer, or a wrong one. cut: bytes of each read."""
    for path, value, statuses in REQUESTS:
        if not unbroken(connection):
            return
        stream_id = connection.session.last_id + (1 if not connection.session.last_id else 2)
        message = BytesValue(value=value).SerializeToString()
        _send(stream_id, path, message, read, cut)
        _open_windows(connection, stream_id, read)
        for _ in range(_TURNS):
            await turn()
        status, body = _answer(peer, stream_id)
        assert status in statuses, f"{path}: expected one of {statuses}, got {status}"
        assert status != OK or body == pack(">BI", 0, len(message)) + message, f"{path}: got {body!r}"


def _send(stream_id: int, path: str, message: bytes, read: Callable[[bytes], None], cut: int) -> None:
    """Without the dynamic table, of which nobody knows what is in it."""
    head = block((*_FIELDS[:2], (b":path", path.encode()), *_FIELDS[2:]))
    data = frames.headers(stream_id, head, end=False, frame_bytes=1 << 14)
    data += frames.frame(frames.DATA, frames.END_STREAM, stream_id, pack(">BI", 0, len(message)) + message)
    for start in range(0, len(data), cut):
        read(data[start : start + cut])


def _open_windows(connection: Connection, stream_id: int, read: Callable[[bytes], None]) -> None:
    """Let the answer come, and what stands in its way, where the peer took the windows away before."""
    outbox = connection.outbox
    if outbox.window < MAX_WINDOW >> 1:
        read(frames.window_update(0, MAX_WINDOW - outbox.window))
    if outbox.stream_window < _ROOM and stream_id in connection.streams:
        read(frames.window_update(stream_id, _ROOM))


def _answer(peer: Peer, stream_id: int) -> tuple[str, bytes]:
    """The status, by a decoder that is not ours, and the content; "" = there is none, or not to its end."""
    heard = peer.said.get(stream_id)
    if heard is None or not heard.ended:
        return "", b""
    fields = {str(name): str(value) for part in heard.blocks for name, value in hpack.Decoder().decode(part)}
    return fields.get("grpc-status", ""), heard.body
