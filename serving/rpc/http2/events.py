"""What a connection tells the layer above. Requests that were whole in one read are not events: see connection.py."""

from typing import Any, NamedTuple

from serving.rpc.http2.streams import Stream


class Opened(NamedTuple):
    """A request has begun; `head` is what the layer above made of its fields. `ended`: nothing follows."""

    stream: Stream
    head: Any
    ended: bool


class Received(NamedTuple):
    """Bytes of a request. They count as held until `Connection.consumed` is called."""

    stream: Stream
    data: bytes
    ended: bool


class Reset(NamedTuple):
    """The peer, or a fault of its, ended a stream; nothing can be sent on it any more."""

    stream: Stream
    code: int


class Writable(NamedTuple):
    """What was queued on a stream has been taken by the peer's windows."""

    stream: Stream


class Ponged(NamedTuple):
    """The peer answered a PING."""

    payload: bytes


class Struck(NamedTuple):
    """A limit was met, for the metrics."""

    limit: str


Event = Opened | Received | Reset | Writable | Ponged | Struck
