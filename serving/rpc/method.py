"""What a transport carries: methods by path, with handlers that know messages and nothing of the transport.

A handler takes the decoded request (for streams an async iterator of them) and a Call, and gives messages, or bytes
that are an encoded message already. It raises the errors of serving/errors.py; rpc/errors.py says which status
each of them is.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple, Protocol

from google.protobuf.message import DecodeError, Message

from serving.recommend.ready import Ready
from serving.rpc.errors import Code, StatusError

Metadata = tuple[tuple[str, str | bytes], ...]
"""In order; a name that ends in `-bin` has bytes."""


class Outgoing:
    """Metadata that a handler sends: `initial` before its first message, `trailing` with the status."""

    __slots__ = ("initial", "trailing")

    def __init__(self) -> None:
        self.initial: Metadata = ()
        self.trailing: Metadata = ()


class Call(NamedTuple):
    """One RPC. `deadline` is by the monotonic clock; None = the client set none."""

    path: str
    peer: str
    deadline: float | None
    metadata: Metadata
    outgoing: Outgoing | None = None
    """None where nothing but the status can be sent."""


Reply = Message | bytes
Unary = Callable[[Any, Call], Awaitable[Reply]]
Now = Callable[[Sequence[bytes]], Sequence[Ready | None]]
"""To each of some encoded requests an answer that needs no waiting, or None: ask the handler. Raises nothing."""
Spare = Callable[[bytes, float | None], Ready | None]
"""To an encoded request that `Now` has just given None for, an answer that needs no work, if work would take too long.

That is: longer than so many seconds; None = there is no hurry; 0 = any work would. None: the request has to be worked
on, or refused. Raises nothing.
"""
Abandon = Callable[[], None]


class QueueOf(Protocol):
    """What of an encoded request says in which queue it has to wait; b"" where that is not easily seen."""

    def __call__(self, message: bytes, /, *, sure: bool = False) -> bytes:
        """`sure`: look at all of the request, as one from which others will be judged."""
        ...


class Answering(Protocol):
    """Who waits for the answer to one call."""

    def give(self, message: bytes) -> None:
        """Take the encoded answer."""
        ...

    def fail(self, error: Exception) -> None:
        """Take an error, as handlers raise them."""
        ...


class AnsweringAll(Protocol):
    """Who waits for the answers to several calls that were begun together."""

    def give(self, found: Sequence[bytes | Exception | None]) -> None:
        """Take encoded answers, or errors of single calls, in the order of the requests; None for those that wait."""
        ...

    def fail(self, error: Exception) -> None:
        """Take an error that each of them has, as handlers raise them."""
        ...

    def apart(self) -> None:
        """Ask the handler for each by itself: together they cannot be answered."""
        ...


Soon = Callable[[bytes, float | None, Answering], Abandon | None]
"""Begins to answer an encoded request, without a task: one of both methods is called once, later or within.

The number is the call's deadline, by the monotonic clock; None = the client set none.

Returns what is to be called when nobody waits any more; None: nothing was begun, ask the handler. Raises what handlers
raise, and then gives nothing.
"""
Together = Callable[[Sequence[bytes], float | None, AnsweringAll], Abandon | None]
"""As `Soon`, for several requests with the same deadline that would be worked on together anyway.

None: they are not alike, and nothing was begun. Whatever it raises, nothing was begun, and each may be by itself.
"""
Streaming = Callable[[AsyncIterator[Any], Call], AsyncIterator[Reply]]


class Kind(Enum):
    """How many messages go each way. A method with one request and many replies gets its request as a stream of one."""

    UNARY = "unary"
    SERVER_STREAM = "server stream"
    BIDI_STREAM = "bidirectional stream"


class Group(Enum):
    """Who may call a method, where the server asks: see the settings of access."""

    OPEN = "open"
    """Anybody: health."""
    DATA = "data"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Method:
    """One method: `/package.Service/Name`."""

    path: str
    kind: Kind
    request: type[Message]
    handler: Any
    """Unary for Kind.UNARY, else Streaming."""
    now: Now | None = None
    """For Kind.UNARY: tried first by a transport that can answer without a task."""
    soon: Soon | None = None
    """For Kind.UNARY: does what `handler` does; for a transport that does not need a task to wait."""
    together: Together | None = None
    """For Kind.UNARY with `soon`, which is called where this cannot be."""
    queue: QueueOf | None = None
    spare: Spare | None = None
    """For Kind.UNARY with `now` and `soon`: what is better than to be refused."""
    group: Group = Group.DATA


class Server(Protocol):
    """A transport: listens on a port that other processes of the node share, and calls the handlers."""

    async def start(self) -> None:
        """Bind and accept."""
        ...

    async def stop(self, grace_s: float) -> None:
        """Accept nothing new; give what runs `grace_s` seconds to end."""
        ...


def decoded(request: type[Message], data: bytes) -> Any:
    """Return the request; StatusError."""
    try:
        return request.FromString(data)
    except DecodeError as error:
        words = f"request: expected a {request.DESCRIPTOR.full_name}"
        raise StatusError(Code.INVALID_ARGUMENT, words) from error
