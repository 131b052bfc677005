"""What of a request's header fields is another for every call: its deadline, and what traces it."""

from collections.abc import Sequence
from typing import Protocol

from serving.rpc.http2.hpack import Field
from serving.rpc.http2.literals import block, fields, pattern
from serving.rpc.native.head import Head
from serving.rpc.native.metadata import read_timeout, seconds_of, some_time
from serving.rpc.native.routes import Route

NAMES = frozenset((b"grpc-timeout", b"traceparent", b"tracestate", b"baggage", b"x-request-id"))
_TIMEOUT = pattern(b"grpc-timeout", [(digits + 1, b"[1-9][0-9]{%d}[HMSmun]" % (digits - 1)) for digits in range(1, 9)])
_BEFORE_TIMEOUT = block([(b"grpc-timeout", b"")])[:-1]
"""As it stands before the length of its value."""
_TRACE = pattern(b"traceparent", [(55, b"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")])
USUAL = b"(?:%s)?(?:%s)?|%s%s" % (_TIMEOUT, _TRACE, _TRACE, _TIMEOUT)
"""An expression for what most clients that say these add to their headers: a time that is not over, and a trace."""


class Reader(Protocol):
    """Of fields."""

    def complete(self, head: Head, fields: Sequence[Field]) -> Head:
        """Return another head, with what these varying fields say."""
        ...


class Varied:
    """A head, and what varies: read when it is needed, which for most is never.

    more: the fields; or as they were encoded, where that is `USUAL`.
    """

    __slots__ = ("_base", "_more", "_reader", "_timeout", "quick")

    def __init__(self, base: Head, more: Sequence[Field] | bytes, quick: Route | None, reader: Reader) -> None:
        self._base = base
        self._more = more
        self._reader = reader
        self._timeout: float | None = None
        self.quick = quick

    @property
    def timeout(self) -> float | None:
        """As far as `quick` says that it is one."""
        if self._timeout is None:  # a head that comes again and again may have one that is always the same
            more = self._more
            if isinstance(more, bytes):  # as `USUAL` has it: one, at a place that is easily found
                _, found, rest = more.partition(_BEFORE_TIMEOUT)
                if found:
                    self._timeout = seconds_of(rest[1 : 1 + rest[0]])
                return self._timeout
            for name, value, _ in more:
                if name == b"grpc-timeout":
                    self._timeout = read_timeout(value)  # the last one, as for all other calls
        return self._timeout

    def whole(self) -> Head:
        """Return the head with everything in it."""
        return self._reader.complete(self._base, self._fields())

    def _fields(self) -> Sequence[Field]:
        more = self._more
        return fields(more) if isinstance(more, bytes) else more


def quick_of(base: Head, more: Sequence[Field]) -> Route | None:
    """Return the base's, unless its time is over, or no time: that is another's part to say."""
    late = any(name == b"grpc-timeout" and not some_time(value) for name, value, _ in more)
    return None if late else base.quick
