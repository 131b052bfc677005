"""A server of ours that a test looks at from outside, by a real client or by bytes on a socket."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import uvloop
from grpc_health.v1.health_pb2 import HealthCheckRequest
from prometheus_client import CollectorRegistry

from serving.errors import InvalidRequestError
from serving.recommend.ready import Ready
from serving.rpc.http2 import frames
from serving.rpc.http2.literals import block
from serving.rpc.method import Abandon, Answering, AnsweringAll, Call, Group, Kind, Method
from serving.rpc.native import server as server_module
from serving.rpc.native.limits import read_limits
from serving.rpc.native.server import NativeServer
from serving.rpc.native.tls import TlsFiles
from serving.telemetry.metrics import Metrics

PATIENCE_S = 120
REQUEST = block(
    [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/t.T/Echo"), (b"content-type", b"application/grpc")]
)
HELLO = frames.PREFACE + frames.settings({})


class Clock:
    """What a server looks at its connections by: it stands still until a test lets time pass."""

    def __init__(self) -> None:
        self._now = time.monotonic()
        self._looks = 0

    def monotonic(self) -> float:
        """Each look asks once."""
        self._looks += 1
        return self._now

    async def forward(self, seconds: float) -> None:
        """Let time pass once the server has read everything that was written, and looked."""
        looks = self._looks
        while self._looks < looks + 2:  # noqa: ASYNC110 - a look tells nobody
            await asyncio.sleep(0.001)
        self._now += seconds


class Stage:
    """The server, its metrics, and handlers that wait until they are let go."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry)
        self.release = asyncio.Event()
        self.started = asyncio.Queue[str]()
        self.waiting: list[tuple[bytes, Answering]] = []
        self.parties: list[tuple[tuple[bytes, ...], AnsweringAll]] = []
        self.abandoned: list[bytes] = []
        self.server: NativeServer

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server.port}"

    def struck(self, limit: str) -> float:
        return self.registry.get_sample_value("nearline_rpc_limits_total", {"limit": limit}) or 0

    async def wait_struck(self, limit: str, times: int = 1) -> None:
        while self.struck(limit) < times:  # noqa: ASYNC110 - a metric tells nobody
            await asyncio.sleep(0.01)

    async def wait_counted(self, method: str, code: str) -> None:
        labels = {"method": method, "code": code}
        while not self.registry.get_sample_value("nearline_requests_total", labels):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)

    async def echo(self, request: HealthCheckRequest, _call: Call) -> HealthCheckRequest:
        return request

    async def hold(self, request: HealthCheckRequest, _call: Call) -> HealthCheckRequest:
        await self.started.put(request.service)
        await self.release.wait()
        return request

    async def flood(
        self, _requests: AsyncIterator[HealthCheckRequest], _call: Call
    ) -> AsyncIterator[HealthCheckRequest]:
        while True:
            yield HealthCheckRequest(service="x" * 100_000)

    async def watch(
        self, _requests: AsyncIterator[HealthCheckRequest], _call: Call
    ) -> AsyncIterator[HealthCheckRequest]:
        """Say something, and then nothing for long."""
        yield HealthCheckRequest(service="now")
        await self.release.wait()
        yield HealthCheckRequest(service="later")

    async def measure(
        self, requests: AsyncIterator[HealthCheckRequest], _call: Call
    ) -> AsyncIterator[HealthCheckRequest]:
        """Take requests one by one, once it may."""
        await self.started.put("measure")
        await self.release.wait()
        async for request in requests:
            yield HealthCheckRequest(service=str(len(request.service)))

    async def give_up(self, _request: HealthCheckRequest, _call: Call) -> HealthCheckRequest:
        raise asyncio.CancelledError

    async def give_up_later(
        self, _requests: AsyncIterator[HealthCheckRequest], _call: Call
    ) -> AsyncIterator[HealthCheckRequest]:
        yield HealthCheckRequest(service="one")
        raise asyncio.CancelledError

    def begin(self, message: bytes, _deadline: float | None, answering: Answering) -> Abandon:
        """Keep who waits; the tests answer."""
        if b"refused" in message:
            raise InvalidRequestError("service", "another", "refused")
        self.waiting.append((message, answering))
        return lambda: self.abandoned.append(message)

    def begin_all(self, messages: Sequence[bytes], _deadline: float | None, answering: AnsweringAll) -> Abandon | None:
        """Keep who waits together, unless one of them is to be by itself."""
        if any(b"refused" in message or b"alone" in message for message in messages):
            return None
        self.parties.append((tuple(messages), answering))
        return lambda: self.abandoned.extend(messages)

    def methods(self) -> list[Method]:
        def now(requests: Sequence[bytes]) -> list[Ready | None]:
            return [None if b"later" in request else Ready(request) for request in requests]

        return [
            Method("/t.T/Echo", Kind.UNARY, HealthCheckRequest, self.echo),
            Method("/t.T/Now", Kind.UNARY, HealthCheckRequest, self.echo, now),
            Method("/t.T/Soon", Kind.UNARY, HealthCheckRequest, self.echo, soon=self.begin),
            Method("/t.T/All", Kind.UNARY, HealthCheckRequest, self.echo, soon=self.begin, together=self.begin_all),
            Method("/t.T/Hold", Kind.UNARY, HealthCheckRequest, self.hold),
            Method("/t.T/Flood", Kind.SERVER_STREAM, HealthCheckRequest, self.flood),
            Method("/t.T/Measure", Kind.BIDI_STREAM, HealthCheckRequest, self.measure),
            Method("/t.T/GiveUp", Kind.UNARY, HealthCheckRequest, self.give_up),
            Method("/t.T/GiveUpLater", Kind.SERVER_STREAM, HealthCheckRequest, self.give_up_later),
            Method("/t.T/Watch", Kind.SERVER_STREAM, HealthCheckRequest, self.watch),
            Method("/t.T/Admin", Kind.UNARY, HealthCheckRequest, self.echo, group=Group.ADMIN),
            Method("/t.T/Open", Kind.UNARY, HealthCheckRequest, self.echo, group=Group.OPEN),
        ]


@asynccontextmanager
async def stage(
    limits: dict[str, float] | None = None,
    *,
    tls: TlsFiles | None = None,
    access: Path | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[Stage]:
    made = Stage()
    made.server = NativeServer(
        made.methods(), "127.0.0.1:0", made.metrics, 4 << 20, limits=read_limits(limits or {}), tls=tls, access=access
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server_module, "_LOOK_S", 0.02)
        if clock is not None:
            patch.setattr(server_module, "time", clock)
        try:
            await made.server.start()
            async with asyncio.timeout(PATIENCE_S):
                yield made
        finally:
            await made.server.stop(0)


def play(scene: Callable[[], Awaitable[None]]) -> None:
    """On the loop that serving workers have; test_transports.py is on asyncio's own."""
    uvloop.run(scene())  # type: ignore[arg-type]  # scenes are coroutines


def ask(channel: grpc.aio.Channel, name: str, service: str = "", **options: Any) -> Any:
    path = f"/t.T/{name}"
    call = channel.unary_unary(path, HealthCheckRequest.SerializeToString, HealthCheckRequest.FromString)
    return call(HealthCheckRequest(service=service), **options)


async def read_all(reader: asyncio.StreamReader) -> bytes:
    """What comes until the server closes, gently or not."""
    found = b""
    try:
        while part := await reader.read(1 << 16):
            found += part
    except ConnectionError:
        pass
    return found


def kinds(data: bytes) -> list[int]:
    """The types of the frames in some bytes."""
    found, position = [], 0
    while len(data) - position >= frames.HEADER_BYTES:
        high, length, kind, _, _ = frames.HEADER.unpack_from(data, position)
        found.append(kind)
        position += frames.HEADER_BYTES + (high << 16) + length
    return found
