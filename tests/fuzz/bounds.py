"""What a connection may hold after each read, whatever was sent."""

from serving.rpc.http2.connection import Connection
from serving.rpc.http2.frames import HEADER_BYTES
from serving.rpc.http2.limits import MAX_WINDOW
from serving.rpc.http2.streams import State


def check_bounds(connection: Connection) -> None:
    """AssertionError when more is held than the limits say, or the books do not agree."""
    session, limits, streams = connection.session, connection.limits, connection.streams.values()
    # All whole frames were handled, or reading would never go on.
    assert len(connection._rest) < HEADER_BYTES + limits.frame_bytes
    assert session.running <= limits.concurrent_streams
    assert not session.streams.keys() & session.kept.keys()
    assert session.buffered == sum(stream.held for stream in streams) <= limits.buffered_bytes
    assert session.outbox.queued == sum(stream.queued for stream in streams)
    assert len(session._reset_here) <= 1000
    assert len(session._skipped) <= 1000
    assert len(session.blocks.known) <= 64
    assert len(session.blocks._heads) <= 64
    assert session.partial is None or len(session.partial.block) <= limits.header_list_bytes or connection.closed
    for stream in streams:
        assert stream.state is not State.CLOSED
        assert stream.queued == sum(map(len, stream.pending))
        assert stream.window <= MAX_WINDOW or connection.closed
    assert 0 <= session.outbox.window <= MAX_WINDOW or connection.closed
    assert 0 <= session.read_window <= limits.connection_window or connection.closed
