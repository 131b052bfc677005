"""A request's header fields to what a call needs to know, or to its refusal."""

import re
from collections.abc import Callable, Sequence

from serving.rpc.errors import Code, StatusError
from serving.rpc.http2.hpack import Field
from serving.rpc.method import Call, Metadata, Outgoing
from serving.rpc.native import answers
from serving.rpc.native.messages import ENCODINGS
from serving.rpc.native.metadata import BadMetadataError, read_metadata, read_timeout
from serving.rpc.native.routes import Route, Routes

_KNOWN_ENCODINGS = frozenset(ENCODINGS.split(b","))
_GRPC = b"application/grpc"
_SOME_TIME = re.compile(rb"[1-9][0-9]{0,7}[HMSmun]").fullmatch
Check = Callable[[Route, Sequence[Field]], None]
"""Raises StatusError for a caller who may not."""


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


class Varied:
    """A head, and what of a request is another for every call: read when it is needed, which for most is never."""

    __slots__ = ("_base", "_fields", "_read", "quick")

    def __init__(self, base: Head, fields: Sequence[Field], read: Callable[[Head, Sequence[Field]], Head]) -> None:
        self._base = base
        self._fields = fields
        self._read = read
        self.quick = base.quick
        for name, value, _ in fields:
            if name == b"grpc-timeout" and not _SOME_TIME(value):
                self.quick = None

    @property
    def timeout(self) -> float | None:
        """As far as `quick` says that it is one."""
        for name, value, _ in self._fields:
            if name == b"grpc-timeout":
                return read_timeout(value)
        return None

    def whole(self) -> Head:
        """Return the head with everything in it."""
        return self._read(self._base, self._fields)


class HeadReader:
    """One connection's: `peer` is its address as gRPC writes it. Raises nothing: what is wrong becomes a refusal."""

    def __init__(self, routes: Routes, peer: str, check: Check | None) -> None:
        self._routes = routes
        self._peer = peer
        self._check = check

    varying = frozenset((b"grpc-timeout", b"traceparent", b"tracestate", b"baggage", b"x-request-id"))

    def read(self, fields: Sequence[Field]) -> Head:
        """Read a request's fields, which HTTP/2 has found well-formed."""
        head = Head()
        self._try(head, fields, self._read)
        return head

    def refine(self, head: Head, fields: Sequence[Field]) -> Head | Varied:
        """Add what is another for every call: the deadline and what traces it."""
        return head if head.refusal is not None else Varied(head, fields, self._with)

    def _with(self, head: Head, fields: Sequence[Field]) -> Head:
        other = Head()
        other.route, other.encoding, other.accepts = head.route, head.encoding, head.accepts
        other.call = head.call
        self._try(other, fields, self._refine)
        return other

    def _try(self, head: Head, fields: Sequence[Field], read: Callable[[Head, Sequence[Field]], None]) -> None:
        try:
            read(head, fields)
        except StatusError as error:
            head.refusal = Refusal(answers.refusal(error.code, error.message), b"", error.code)
        except BadMetadataError as error:
            head.refusal = Refusal(answers.refusal(Code.INVALID_ARGUMENT, str(error)), b"", Code.INVALID_ARGUMENT)

    def _refine(self, head: Head, fields: Sequence[Field]) -> None:
        traces = []
        for name, value, _ in fields:
            if name == b"grpc-timeout":
                head.timeout = read_timeout(value)
            else:
                traces.append((name.decode(), value.decode("latin-1")))
        if traces:
            head.traces = tuple(traces)

    def _read(self, head: Head, fields: Sequence[Field]) -> None:
        values = {name: value for name, value, _ in fields}
        kind = values.get(b"content-type", b"")
        if kind != _GRPC and (kind[:16] != _GRPC or kind[16:17] not in {b"+", b";"}):
            head.refusal = Refusal(answers.plain(b"415"), b"expected content-type: application/grpc\n", Code.UNKNOWN)
            return
        if values[b":method"] != b"POST":
            head.refusal = Refusal(answers.plain(b"405", (b"allow", b"POST")), b"expected POST\n", Code.UNKNOWN)
            return
        path = values[b":path"]
        head.route = route = self._routes.get(path)
        if route is None:
            raise StatusError(Code.UNIMPLEMENTED, f"unknown method {path.decode('latin-1')[:200]}")
        if self._check is not None:
            self._check(route, fields)
        encoding = values.get(b"grpc-encoding", b"identity")
        if encoding not in _KNOWN_ENCODINGS:
            raise StatusError(Code.UNIMPLEMENTED, f"grpc-encoding: expected one of {ENCODINGS.decode()}")
        head.encoding = encoding
        head.accepts = values.get(b"grpc-accept-encoding", b"")
        head.call = Call(route.path, self._peer, None, read_metadata(fields))
        head.quick = route if route.quick else None
