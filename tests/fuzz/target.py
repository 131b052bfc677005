"""What a fuzzer calls: any bytes to a connection of ours, which may raise nothing and must keep to its limits.

The first two bytes choose how the connection is set up and what the server does; the rest is what the peer sends. It
needs neither a socket nor pytest, so that `make fuzz` runs it in a virtual environment of its own.
"""

from google.protobuf.empty_pb2 import Empty
from prometheus_client import CollectorRegistry

from serving.rpc.http2 import frames
from serving.rpc.http2.blocks import HeaderBlocks
from serving.rpc.http2.connection import Connection
from serving.rpc.http2.hpack import best_decoder
from serving.rpc.http2.limits import ConnectionLimits
from serving.rpc.method import Call, Kind, Method
from serving.rpc.native.heads import HeadReader
from serving.rpc.native.limits import ServerLimits
from serving.rpc.native.routes import routes
from serving.telemetry.metrics import Metrics
from tests.fuzz.bounds import check_bounds
from tests.fuzz.peer import Peer
from tests.fuzz.server import Server
from tests.fuzz.whole import check_whole

RAW, SMALL, SILENT, WHOLE = 1, 2, 4, 8
"""Bits of the first byte: no greeting before the rest; small limits; a server that only listens; all of the server."""
MOST = 4096
"""Bytes of one input. Below what strikes the default rates, so that the clock decides nothing."""
_SIZES = (1, 7, 40, 200, MOST)
GREETING = frames.PREFACE + frames.settings({})
PATH = "/t.T/Echo"

_NORMAL = ConnectionLimits()
_TIGHT = ConnectionLimits(
    header_list_bytes=256, concurrent_streams=3, stream_window=300, buffered_bytes=500, resets_burst=3, resets_per_s=0,
    controls_burst=5, controls_per_s=0, empties_burst=3, empties_per_s=0, updates_burst=5, updates_per_s=0,
    continuations=2,
)  # fmt: skip


async def _echo(request: Empty, _call: Call) -> Empty:
    return request


_ROUTES = routes([Method(PATH, Kind.UNARY, Empty, _echo)], Metrics(CollectorRegistry()))


class Forgetful(HeaderBlocks):
    """Interprets every block anew: what remembering must not differ from."""

    def request(self, block: bytes) -> tuple[object, int]:
        self.forget()
        self._heads.clear()
        return super().request(block)


def check(data: bytes) -> None:
    """AssertionError, or whatever the connection raised, when it is not as it must be."""
    mode, script, sent = data[:1] or b"\0", data[1:2] or b"\0", data[2:MOST]
    if not mode[0] & RAW:
        sent = GREETING + sent
    limits = _TIGHT if mode[0] & SMALL else _NORMAL
    if mode[0] & WHOLE:
        check_whole(ServerLimits(connection=limits), script[0], sent, lambda turn: _SIZES[(script[0] + turn) % 5])
    elif mode[0] & SILENT:
        _compare(sent)
    else:
        _talk(limits, script[0], sent)


def _make(limits: ConnectionLimits, kind: type[HeaderBlocks] = HeaderBlocks) -> Connection:
    decoder = best_decoder()(limits.header_table_bytes, limits.header_list_bytes)
    return Connection(limits, kind(decoder, HeadReader(_ROUTES, "ipv4:127.0.0.1:1", None)))


def _talk(limits: ConnectionLimits, script: int, sent: bytes) -> None:
    """Reads of several sizes, each followed by what the server does."""
    connection, peer = _make(limits), Peer()
    server, position = Server(connection, script), 0
    for turn in range(len(sent)):
        size = _SIZES[(script + turn) % 5]
        server.serve(*connection.receive(sent[position : position + size]))
        position += size
        check_bounds(connection)
        peer.hear(connection.take())
        if connection.closed or position >= len(sent):
            break
    assert connection.closed == (connection.fault is not None)
    assert peer.answered <= 3 * len(sent) + 400, "more said of what was sent than was sent"
    if not connection.closed:
        connection.warn()
        connection.refuse()
        server.serve(*connection.receive(frames.PREFACE))
        check_bounds(connection)
        peer.hear(connection.take())
    if connection.closed:
        assert connection.receive(GREETING) == ([], {})
        assert peer.left, "closed without GOAWAY"


def _compare(sent: bytes) -> None:
    """What came in one read, mostly by the short way, means what it does byte by byte and with no memory."""
    whole, pieces = _make(_NORMAL), _make(_NORMAL, Forgetful)
    one, other = Server(whole), Server(pieces)
    one.serve(*whole.receive(sent))
    for position in range(len(sent)):
        other.serve(*pieces.receive(sent[position : position + 1]))
    check_bounds(whole)
    check_bounds(pieces)
    assert (whole.fault and whole.fault.code) == (pieces.fault and pieces.fault.code)
    if not whole.closed:
        assert one.heard() == other.heard()
        assert whole.outbox.window == pieces.outbox.window
        assert whole.session.last_id == pieces.session.last_id
