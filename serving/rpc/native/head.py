"""What a request's header fields say, as far as its call has to know it."""

from serving.rpc.errors import Code
from serving.rpc.method import Call, Metadata, Outgoing
from serving.rpc.native.routes import Route


class Refusal:
    """A response that needs no handler: a header block, and a text for whoever does not speak gRPC."""

    __slots__ = ("block", "code", "text")

    def __init__(self, block: bytes, text: bytes, code: Code) -> None:
        self.block = block
        self.text = text
        self.code = code


_NO_CALL = Call("", "", None, ())


class Head:
    """What one header block asks for. One that a client repeats is read once."""

    __slots__ = ("accepts", "call", "encoding", "quick", "refusal", "route", "timeout", "traces")

    def __init__(self) -> None:
        self.route: Route | None = None
        self.refusal: Refusal | None = None
        self.timeout: float | None = None
        self.encoding = b""
        """Of the request's messages that are marked as compressed."""
        self.accepts = b""
        self.call: Call = _NO_CALL
        """Without what varies: the deadline, which counts from the arrival of each request, and the traces."""
        self.traces: Metadata = ()
        self.quick: Route | None = None
        """The route, where it may have an answer without waiting, and nothing speaks against asking for one."""

    def whole(self) -> "Head":
        """See Varied."""
        return self

    def call_at(self, began: float, outgoing: Outgoing | None) -> Call:
        """Return what the handler sees of a request that came at `began`."""
        call, timeout = self.call, self.timeout
        deadline = None if timeout is None else began + timeout
        return Call(call.path, call.peer, deadline, call.metadata + self.traces, outgoing)
