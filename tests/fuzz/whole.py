"""The whole server without a socket: the bytes of a connection through Wire, Exchange and handlers of every kind."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from functools import lru_cache
from typing import Any

from google.protobuf.wrappers_pb2 import BytesValue
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from serving.errors import InvalidRequestError, OverloadedError, UnavailableError
from serving.recommend.ready import Ready
from serving.rpc.http2 import frames
from serving.rpc.method import Abandon, Answering, AnsweringAll, Call, Kind, Method
from serving.rpc.native.house import House
from serving.rpc.native.limits import ServerLimits
from serving.rpc.native.routes import routes
from serving.rpc.native.wire import Wire
from serving.telemetry.metrics import Metrics
from tests.fuzz.asking import REQUESTS, ask_all, unbroken
from tests.fuzz.bounds import check_bounds
from tests.fuzz.peer import Peer

HANDLERS = "/t.T/Echo", "/t.T/Now", "/t.T/Soon", "/t.T/Fail", "/t.T/Many", "/t.T/Each", "/t.T/All"
_MOST = 1_000
_LARGE = bytes(70_000)
_GIVES = 8
"""Of the choices between two reads: who waits gets an answer."""


class Socket:
    """What Wire needs of a transport; what is written goes to the peer at once."""

    def __init__(self) -> None:
        self.peer = Peer()
        self.closed = False
        self.waiting = 0

    def write(self, data: bytes) -> None:
        assert not self.closed, "written after the end"
        self.peer.hear(data)

    def close(self) -> None:
        self.closed = True

    abort = close

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def set_write_buffer_limits(self, high: int) -> None:
        assert high > 0

    def get_extra_info(self, name: str) -> Any:
        return ("127.0.0.1", 1) if name == "peername" else None

    def pause_reading(self) -> None:
        """It is the fuzzer that decides what is read."""

    resume_reading = pause_reading


class Handlers:
    """Answers at once, later, by a task, with a failure, or many times; `later`, `parties`: who waits."""

    def __init__(self) -> None:
        self.later: list[tuple[bytes, Answering]] = []
        self.parties: list[tuple[Sequence[bytes], AnsweringAll]] = []

    def now(self, requests: Sequence[bytes]) -> list[Ready | None]:
        return [Ready(request) if len(request) % 2 else None for request in requests]

    def begin(self, message: bytes, _deadline: float | None, answering: Answering) -> Abandon | None:
        match len(message) % 4:
            case 0:
                return None
            case 1:
                answering.give(message)
            case 2:
                raise OverloadedError("full", 10.0, 2.0)
            case _:
                self.later.append((message, answering))
        return lambda: None

    def begin_all(self, messages: Sequence[bytes], _deadline: float | None, answering: AnsweringAll) -> Abandon | None:
        match len(messages[0]) % 4:
            case 0:
                return None
            case 1:
                answering.give(messages)
            case 2:
                raise OverloadedError("full", 10.0, 2.0)
            case _:
                self.parties.append((messages, answering))
        return lambda: None

    async def echo(self, request: BytesValue, _call: Call) -> BytesValue:
        await asyncio.sleep(0)
        return request

    async def fail(self, _request: BytesValue, _call: Call) -> BytesValue:
        raise InvalidRequestError("value", "another", "this")

    async def many(self, requests: AsyncIterator[BytesValue], _call: Call) -> AsyncIterator[bytes]:
        async for _ in requests:
            for _ in range(10):
                yield _LARGE

    async def each(self, requests: AsyncIterator[BytesValue], _call: Call) -> AsyncIterator[BytesValue]:
        async for request in requests:
            yield request

    def methods(self) -> list[Method]:
        echo, now, soon, fail, many, each, together = HANDLERS
        return [
            Method(echo, Kind.UNARY, BytesValue, self.echo),
            Method(now, Kind.UNARY, BytesValue, self.echo, self.now, self.begin),
            Method(soon, Kind.UNARY, BytesValue, self.echo, soon=self.begin, queue=_queue),
            Method(fail, Kind.UNARY, BytesValue, self.fail),
            Method(many, Kind.SERVER_STREAM, BytesValue, self.many),
            Method(each, Kind.BIDI_STREAM, BytesValue, self.each),
            Method(together, Kind.UNARY, BytesValue, self.echo, soon=self.begin, together=self.begin_all, queue=_queue),
        ]


def _queue(message: bytes, /, *, sure: bool = False) -> bytes:  # noqa: ARG001 - the whole of it would say the same
    return message[:1]


def check_whole(limits: ServerLimits, script: int, sent: bytes, sizes: Callable[[int], int]) -> None:
    """AssertionError, or whatever was raised, when the server is not as it must be."""
    with capture_logs() as logged:
        _loop().run_until_complete(_scene(limits, script, sent, sizes))
    assert not [line for line in logged if line["log_level"] in {"error", "critical"}], logged


@lru_cache(1)
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


@lru_cache(1)
def _metrics() -> Metrics:
    return Metrics(CollectorRegistry())


async def _scene(limits: ServerLimits, script: int, sent: bytes, sizes: Callable[[int], int]) -> None:
    handlers, socket = Handlers(), Socket()
    lost: list[Wire] = []
    metrics = _metrics()
    house = House(routes(handlers.methods(), metrics), limits, metrics, _MOST)
    wire = Wire(house, None, lambda _: None, lost.append)
    wire.connection_made(socket)
    exchange, position = wire._exchange, 0
    for turn in range(len(sent)):
        wire.data_received(sent[position : position + sizes(turn)])
        position += sizes(turn)
        check_bounds(exchange.connection)
        await _turn(wire, handlers, script + turn)
        if socket.closed or position >= len(sent):
            break
    await _ask(wire, socket.peer, handlers, sizes(0))
    await _ask_another(house, handlers)
    if script & 1 and not socket.closed:
        wire.go(1.0)
        await asyncio.sleep(0)
        wire.end("the fuzzer ends")
    wire.connection_lost(None)
    for _ in range(3):
        await asyncio.sleep(0)
    assert lost == [wire]
    assert not exchange.calls
    assert house.running == house.streaming == house.buffered == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def _ask(wire: Wire, peer: Peer, handlers: Handlers, cut: int) -> None:
    """Whatever was said on this connection, it goes on, unless that ended it."""
    connection = wire._exchange.connection
    peer.after = connection.session.last_id
    await ask_all(connection, peer, wire.data_received, lambda: _turn(wire, handlers, _GIVES), cut)


async def _ask_another(house: House, handlers: Handlers) -> None:
    """Whatever was said on one connection, all others are served."""
    socket, lost = Socket(), list[Wire]()
    wire = Wire(house, None, lambda _: None, lost.append)
    wire.connection_made(socket)
    wire.data_received(frames.PREFACE + frames.settings({}))
    await _ask(wire, socket.peer, handlers, 1 << 14)
    assert unbroken(wire._exchange.connection)
    assert len(socket.peer.said) == len(REQUESTS)
    wire.connection_lost(None)


async def _turn(wire: Wire, handlers: Handlers, choice: int) -> None:
    """What happens between two reads."""
    if choice & 4:
        wire.pause_writing()
    await asyncio.sleep(0)
    if choice & _GIVES:
        for number, (message, answering) in enumerate(handlers.later):
            if number % 2 and choice != _GIVES:
                answering.fail(UnavailableError("away"))
            else:
                answering.give(message)
        handlers.later.clear()
        for number, (messages, together) in enumerate(handlers.parties):
            match number % 3 if choice != _GIVES else 0:
                case 0:
                    together.give(messages)
                case 1:
                    together.fail(UnavailableError("away"))
                case _:
                    together.apart()
        handlers.parties.clear()
    if choice & 4:
        wire.resume_writing()
    if choice & 16:
        wire.look(time.monotonic())
    await asyncio.sleep(0)
