"""Methods by path, with all that a call of them needs to know."""

from collections.abc import Callable, Sequence
from typing import Any

from google.protobuf.message import DecodeError, Message

from serving.recommend.ready import Ready
from serving.rpc.errors import Code, StatusError
from serving.rpc.method import Group, Kind, Method, Now, Reply
from serving.rpc.native.tally import Tally
from serving.telemetry.metrics import Metrics


class Route:
    """One method. `parse` is the message's own decoder; `decode` says in a status what went wrong."""

    __slots__ = ("answers_now", "group", "handler", "parse", "path", "quick", "request", "tally", "unary")

    def __init__(self, method: Method, metrics: Metrics) -> None:
        self.path = method.path
        self.unary = method.kind is Kind.UNARY
        self.handler: Any = method.handler
        self.quick = method.now is not None
        self.answers_now: Now = method.now or _nothing_now
        self.request: type[Message] = method.request
        self.parse: Callable[[bytes], Message] = method.request.FromString
        self.group: Group = method.group
        self.tally = Tally(metrics, method.path.rpartition("/")[2])

    def decode(self, data: bytes) -> Message:
        """Return the request; StatusError."""
        try:
            return self.parse(data)
        except DecodeError as error:
            words = f"request: expected a {self.request.DESCRIPTOR.full_name}"
            raise StatusError(Code.INVALID_ARGUMENT, words) from error


def _nothing_now(requests: Sequence[bytes]) -> list[Ready | None]:
    return [None] * len(requests)


Routes = dict[bytes, Route]


def routes(methods: Sequence[Method], metrics: Metrics) -> Routes:
    """Return the table of all methods."""
    return {method.path.encode(): Route(method, metrics) for method in methods}


def encode(reply: Reply) -> bytes:
    """Return the bytes of an answer."""
    return reply if isinstance(reply, bytes) else reply.SerializeToString()
