"""One connection's socket: bytes to the exchange and back, one write for each read, and patience that ends."""

import asyncio
import ssl
import time
from collections.abc import Callable
from typing import Any

import structlog

from serving.rpc.http2.codes import ConnectionFault, ErrorCode
from serving.rpc.native.access import Access, names_of
from serving.rpc.native.exchange import Exchange
from serving.rpc.native.farewell import Farewell
from serving.rpc.native.heads import HeadReader
from serving.rpc.native.house import House
from serving.rpc.native.watch import End, Watch

log = structlog.get_logger()

_WRITE_BUFFER = 1 << 20
"""Bytes that may wait for the socket before nothing more is read from it: who does not listen is not heard."""


class Wire(asyncio.Protocol):
    """Made for each connection that is accepted. `lost` is told of its end."""

    def __init__(
        self,
        house: House,
        access: Access | None,
        made: Callable[["Wire"], None],
        lost: Callable[["Wire"], None],
    ) -> None:
        self._house = house
        self._access = access
        self._made = made
        self._lost = lost
        self._flushing = False

    def connection_made(self, transport: Any) -> None:
        """Say hello: our SETTINGS need not wait for the peer's (RFC 9113 §3.4)."""
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._watch = Watch(self._house.limits, transport, time.monotonic())
        transport.set_write_buffer_limits(high=_WRITE_BUFFER)
        check = None
        if self._access is not None:
            access, names = self._access, names_of(transport.get_extra_info("peercert"))
            check = lambda route, fields: access.check(route.group, fields, names)  # noqa: E731
        self._exchange = Exchange(
            self._house,
            HeadReader(self._house.routes, _peer(transport), check),
            self.flush_soon,
            transport.get_write_buffer_size,
        )
        self._farewell = Farewell(self._house, self._exchange, transport, self.flush)
        self._made(self)
        secured: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        if secured is not None and secured.selected_alpn_protocol() != "h2":
            self._fail(ConnectionFault(ErrorCode.HTTP_1_1_REQUIRED, "expected ALPN h2"))
            return
        self.flush()

    def data_received(self, data: bytes) -> None:
        """Handle a read, and answer it in one write."""
        exchange, now = self._exchange, time.monotonic()
        exchange.read(data, now)
        connection = exchange.connection
        chunks = connection.outbox.chunks
        if chunks:
            self._transport.write(b"".join(chunks))
            chunks.clear()
        if connection.closed:
            self._transport.close()
        elif self._farewell.begun:
            self._farewell.go_on()

    def eof_received(self) -> bool:
        """Let the transport close: a client that sends nothing more cannot take part in HTTP/2."""
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """Give up what runs for it."""
        del error
        self._exchange.lost()
        self._lost(self)

    def pause_writing(self) -> None:
        """The peer does not take what it asked for: hear no more of it."""
        self._exchange.paused = True
        self._watch.paused(time.monotonic())
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """It does again."""
        self._exchange.paused = False
        self._exchange.account()
        self._watch.resumed()
        self._transport.resume_reading()
        self._exchange.wake_all()

    def flush_soon(self) -> None:
        """Write once this tick's work is done."""
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush_now)

    def _flush_now(self) -> None:
        self._flushing = False
        self.flush()
        self._exchange.account()
        if self._farewell.begun:
            self._farewell.go_on()

    def flush(self) -> None:
        """Write what there is."""
        data = self._exchange.connection.take()
        if data and not self._transport.is_closing():
            self._transport.write(data)

    def go(self, grace_s: float, words: str = "the connection ends") -> None:
        """Announce the end, and close when all that runs has ended. `words`: for what runs longer than the grace."""
        self._farewell.begin(grace_s, words)

    def end(self, words: str) -> None:
        """End now: what runs gets a status, and the rest is written if the peer takes it."""
        self._farewell.end(words)

    def abort(self) -> None:
        """Drop the connection, with what was not written."""
        self._transport.abort()

    def look(self, now: float) -> None:
        """Look whether patience has ended; called every second."""
        struck = self._watch.look(self._exchange.connection, now, going=self._farewell.begun)
        if struck is None:
            if self._farewell.begun:
                self._farewell.look(now)
            return
        self._house.strike(struck.limit)
        if struck.end is End.DROPPED:
            self.abort()
        elif struck.fault is not None:
            self._fail(struck.fault)
        else:
            self.go(self._house.limits.age_grace_s)

    def _fail(self, fault: ConnectionFault) -> None:
        self._exchange.connection.fail(fault)
        self._exchange.cancel_all()
        self.flush()
        self._transport.close()


def _peer(transport: asyncio.BaseTransport) -> str:
    address = transport.get_extra_info("peername")
    if not isinstance(address, tuple):
        return "unix:"
    host, port = address[:2]
    return f"ipv6:[{host}]:{port}" if ":" in host else f"ipv4:{host}:{port}"
