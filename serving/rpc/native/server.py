"""The transport of our own: HTTP/2 and gRPC in this process's event loop, made for many small answers.

docs/transport.md says what of both protocols is implemented, and lists the limits.
"""

import asyncio
import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import structlog

from serving.rpc.method import Method
from serving.rpc.native.accepting import Accepting
from serving.rpc.native.credentials import Credentials
from serving.rpc.native.house import House
from serving.rpc.native.limits import ServerLimits
from serving.rpc.native.listener import Listener
from serving.rpc.native.routes import routes
from serving.rpc.native.tls import TlsFiles
from serving.rpc.native.wire import Wire
from serving.telemetry.metrics import Metrics

log = structlog.get_logger()

_LOOK_S = 1.0
_LAST_WORDS_S = 1.0
_AT_ONCE = 200
_STOPS = "the server stops"


class NativeServer:
    """Serves on `address`; workers of a node share the port by SO_REUSEPORT. `port` is known after `start`."""

    def __init__(
        self,
        methods: Sequence[Method],
        address: str,
        metrics: Metrics,
        max_message_bytes: int,
        *,
        limits: ServerLimits | None = None,
        tls: TlsFiles | None = None,
        access: Path | None = None,
    ) -> None:
        limits = limits or ServerLimits()
        self.port = 0
        self._house = House(routes(methods, metrics), limits, metrics, max_message_bytes)
        self._listener = Listener(address, self._wire, limits.handshake_s)
        self._credentials = Credentials(tls, access)
        self._wires: set[Wire] = set()
        self._accepting = Accepting(self._house, self._listener, self._credentials)
        self._grace_s: float | None = None
        """Known once the server stops."""
        self._empty = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Bind and accept; UserError for credentials that cannot be used."""
        self.port = await self._accepting.start()
        self._looking = asyncio.get_running_loop().create_task(self._look())

    async def stop(self, grace_s: float) -> None:
        """Accept nothing new; give what runs `grace_s` seconds to end, then end it with UNAVAILABLE."""
        self._grace_s = grace_s
        await asyncio.sleep(0)  # what the kernel has accepted already becomes a connection first
        self._accepting.close()
        for wire in tuple(self._wires):
            wire.go(grace_s, _STOPS)
        await self._wait_empty(grace_s)
        for wire in tuple(self._wires):
            wire.end(_STOPS)
        await self._wait_empty(_LAST_WORDS_S)
        for wire in tuple(self._wires):
            wire.abort()
        await self._wait_empty(_LAST_WORDS_S)
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        self._house.flush()

    async def _wait_empty(self, seconds: float) -> None:
        if not self._wires:
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._empty.wait(), seconds)

    def _wire(self) -> Wire:
        return Wire(self._house, self._credentials.access, self._made, self._lost)

    def _made(self, wire: Wire) -> None:
        self._wires.add(wire)
        self._empty.clear()
        self._accepting.made(len(self._wires))
        if self._grace_s is not None:
            wire.go(self._grace_s, _STOPS)

    def _lost(self, wire: Wire) -> None:
        self._wires.discard(wire)
        self._accepting.lost(len(self._wires))
        if not self._wires:
            self._empty.set()

    async def _look(self) -> None:
        """Every second: patience, room, credentials. What fails keeps none of the others from going on."""
        while True:
            await asyncio.sleep(_LOOK_S)
            await self._look_at_wires()
            with _guarded("metrics"):
                self._house.flush()
            if self._grace_s is None:
                with _guarded("credentials"):
                    self._accepting.look_at_credentials()
                with _guarded("accepting"):
                    await self._accept()

    async def _look_at_wires(self) -> None:
        now = time.monotonic()
        for number, wire in enumerate(tuple(self._wires), 1):
            try:
                wire.look(now)
            except Exception:
                log.exception("rpc.defect", action="the connection is dropped")
                wire.abort()
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)  # thousands of idle connections must not hold up the others

    async def _accept(self) -> None:
        if await self._accepting.look(len(self._wires)):
            # A connection remembers what its clients may: it must not outlive the rules that it goes by.
            for wire in tuple(self._wires):
                wire.go(self._house.limits.age_grace_s)


@contextlib.contextmanager
def _guarded(step: str) -> Iterator[None]:
    try:
        yield
    except Exception:
        log.exception("rpc.look_failed", step=step, action="the next look goes on")
