"""Methods by path, with all that a call of them needs to know."""

from collections.abc import Sequence
from typing import Any

from google.protobuf.message import Message

from serving.rpc.method import Group, Kind, Method, Now, Reply, decoded
from serving.rpc.native.tally import Tally
from serving.telemetry.metrics import Metrics


class Route:
    """One method. `decode` says in a status what is wrong with a request."""

    __slots__ = (
        "group", "handler", "now", "one", "path", "queue", "quick", "request", "soon", "spare", "tally", "together",
        "unary",
    )  # fmt: skip

    def __init__(self, method: Method, metrics: Metrics) -> None:
        self.path = method.path
        self.unary = method.kind is Kind.UNARY
        self.one = method.kind is not Kind.BIDI_STREAM
        """Whether a request is one message."""
        self.handler: Any = method.handler
        self.quick = method.now is not None or method.soon is not None
        self.soon = method.soon
        self.together = method.together
        self.now: Now | None = method.now
        self.queue = method.queue
        self.spare = method.spare
        self.request: type[Message] = method.request
        self.group: Group = method.group
        self.tally = Tally(metrics, method.path.rpartition("/")[2])

    def decode(self, data: bytes) -> Message:
        """Return the request; StatusError."""
        message: Message = decoded(self.request, data)
        return message


Routes = dict[bytes, Route]


def routes(methods: Sequence[Method], metrics: Metrics) -> Routes:
    """Return the table of all methods."""
    return {method.path.encode(): Route(method, metrics) for method in methods}


def encode(reply: Reply) -> bytes:
    """Return the bytes of an answer."""
    return reply if isinstance(reply, bytes) else reply.SerializeToString()
