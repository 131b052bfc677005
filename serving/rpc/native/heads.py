"""A request's header fields to what a call needs to know, or to its refusal."""

import re
from collections.abc import Callable, Sequence

from serving.rpc.errors import Code, StatusError
from serving.rpc.http2.hpack import Field
from serving.rpc.method import Call
from serving.rpc.native import answers, varied
from serving.rpc.native.head import Head, Refusal
from serving.rpc.native.messages import ENCODINGS
from serving.rpc.native.metadata import BadMetadataError, read_metadata, read_timeout
from serving.rpc.native.routes import Route, Routes
from serving.rpc.native.varied import Varied, quick_of

_KNOWN_ENCODINGS = frozenset(ENCODINGS.split(b","))
_GRPC = b"application/grpc"
Check = Callable[[Route, Sequence[Field]], None]
"""Raises StatusError for a caller who may not."""


class HeadReader:
    """One connection's: `peer` is its address as gRPC writes it. Raises nothing: what is wrong becomes a refusal."""

    def __init__(self, routes: Routes, peer: str, check: Check | None) -> None:
        self._routes = routes
        self._peer = peer
        self._check = check

    varying = varied.NAMES
    usual = re.compile(varied.USUAL).fullmatch

    def read(self, fields: Sequence[Field]) -> Head:
        """Read a request's fields, which HTTP/2 has found well-formed."""
        head = Head()
        self._try(head, fields, self._read)
        return head

    def refine(self, head: Head, fields: Sequence[Field]) -> Head | Varied:
        """Add what is another for every call: the deadline and what traces it."""
        return head if head.refusal is not None else Varied(head, fields, quick_of(head, fields), self)

    def extend(self, head: Head, end: bytes) -> Head | Varied:
        """Add it as it is encoded."""
        return head if head.refusal is not None else Varied(head, end, head.quick, self)

    def complete(self, head: Head, fields: Sequence[Field]) -> Head:
        """See Varied."""
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
