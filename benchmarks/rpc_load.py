"""A load generator for unary gRPC that costs less than any server: frames made beforehand, answers only counted.

Closed loop: each connection keeps so many calls running. It is no client: it trusts the server's framing, and leaves it
to the caller to compare with the server's own counters.
"""

import asyncio
import itertools
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import hpack

from serving.rpc.http2 import frames

_WINDOW = 1 << 30
_VARIANTS = 8192
_ENDED = b"\0\x0bgrpc-status\x010"
"""The trailers of our own server, which can be counted without parsing."""


@dataclass(frozen=True, slots=True)
class Load:
    """What to send: `path` with each of `messages` in turn. `varying`: a deadline and a traceparent on each call."""

    host: str
    port: int
    path: str
    messages: Sequence[bytes]
    connections: int = 4
    streams: int = 16
    varying: bool = False
    ssl: Any = None


@dataclass(slots=True)
class Counts:
    """What came of it."""

    answered: int = 0
    failed: int = 0
    response_bytes: int = 0


def run(load: Load, seconds: float, warm_s: float = 1.0) -> tuple[float, Counts]:
    """Return answers per second, after a time to warm up, and the counts of all the time."""
    import uvloop  # noqa: PLC0415 - on choice

    return uvloop.run(_run(load, seconds, warm_s))


async def _run(load: Load, seconds: float, warm_s: float) -> tuple[float, Counts]:
    loop, counts = asyncio.get_running_loop(), Counts()
    bodies = [frame_body(message) for message in load.messages]
    made = [
        await loop.create_connection(
            lambda: _Connection(load, bodies, counts), load.host, load.port, ssl=load.ssl, server_hostname=None
        )
        for _ in range(load.connections)
    ]
    await asyncio.sleep(warm_s)
    before, began = counts.answered, time.perf_counter()
    await asyncio.sleep(seconds)
    rate = (counts.answered - before) / (time.perf_counter() - began)
    for transport, _ in made:
        transport.abort()
    return rate, counts


def frame_body(message: bytes) -> bytes:
    """Return what stands in a DATA frame."""
    return b"\0" + len(message).to_bytes(4, "big") + message


class _Connection(asyncio.Protocol):
    def __init__(self, load: Load, bodies: list[bytes], counts: Counts) -> None:
        self._load = load
        self._counts = counts
        self._bodies = itertools.cycle(bodies[secrets.randbelow(len(bodies)) :] + bodies)
        self._stream = 1
        self._rest = b""
        self._used = 0
        self._literal = False
        encoder = hpack.Encoder()
        fields = [
            (":method", "POST"), (":scheme", "http"), (":path", load.path), (":authority", f"{load.host}:{load.port}"),
            ("te", "trailers"), ("content-type", "application/grpc"), ("user-agent", "grpc-python/1.85.1 grpc-c/54"),
            ("grpc-accept-encoding", "identity, deflate, gzip"),
        ]  # fmt: skip
        self._first = encoder.encode(fields)
        again = encoder.encode(fields)
        self._blocks = itertools.cycle([again + _varying() for _ in range(_VARIANTS)] if load.varying else [again])

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        hello = frames.settings({frames.INITIAL_WINDOW_SIZE: _WINDOW, frames.ENABLE_PUSH: 0})
        transport.write(frames.PREFACE + hello + frames.window_update(0, _WINDOW) + self._requests(1, self._first))
        transport.write(self._requests(self._load.streams - 1))

    def _requests(self, count: int, block: bytes = b"") -> bytes:
        out: list[bytes] = []
        pack, stream = frames.HEADER.pack, self._stream
        for _ in range(count):
            head, body = block or next(self._blocks), next(self._bodies)
            out += (pack(0, len(head), 1, 4, stream), head, pack(0, len(body), 0, 1, stream), body)
            stream += 2
        self._stream = stream
        return b"".join(out)

    def data_received(self, data: bytes) -> None:
        data = self._rest + data if self._rest else data
        if self._literal:
            # What ends each answer is looked for up to where it may have been cut by the end of the read.
            end = max(data.rfind(_ENDED) + len(_ENDED), len(data) - len(_ENDED) + 1)
            ended = data.count(_ENDED, 0, end)
            self._counts.failed += data.count(_ENDED[:-2], 0, end) - ended
            self._rest = data[end:]
            self._go_on(end, ended)
            return
        self._parse(data)

    def _parse(self, data: bytes) -> None:
        counts, unpack = self._counts, frames.HEADER.unpack_from
        position, size, ended = 0, len(data), 0
        while size - position >= 9:  # noqa: PLR2004 - a frame's header
            high, length, kind, flags, _ = unpack(data, position)
            end = position + 9 + (high << 16) + length
            if end > size:
                break
            if flags & 1 and kind < 2:  # noqa: PLR2004 - HEADERS or DATA that end a stream
                ended += 1
                if data[position + 9 : end] == _ENDED:
                    self._literal = True
                else:
                    counts.failed += _status(data[position + 9 : end])
            elif kind in {3, 7}:
                counts.failed += 1
            elif kind == 4 and not flags:  # noqa: PLR2004 - SETTINGS
                self._transport.write(frames.SETTINGS_ACK)
            elif kind == 6 and not flags:  # noqa: PLR2004 - PING, which grpcio measures bandwidth with
                self._transport.write(frames.frame(6, 1, 0, data[position + 9 : end]))
            position = end
        self._rest = data[position:]
        self._go_on(position, ended)

    def _go_on(self, size: int, ended: int) -> None:
        self._used += size
        self._counts.response_bytes += size
        self._counts.answered += ended
        out = self._requests(ended) if ended else b""
        if self._used > _WINDOW >> 2:
            out += frames.window_update(0, self._used)
            self._used = 0
        if out:
            self._transport.write(out)


def _status(block: bytes) -> int:
    """Whether trailers that are not literally ours say that a call failed: grpcio compresses its own."""
    return int(len(block) > 40)  # noqa: PLR2004 - an error has a message; `grpc-status: 0` is indexed


def _varying() -> bytes:
    """Literal fields, as a client sends that varies its deadline and traces every call."""
    encoder = hpack.Encoder()
    timeout = f"{950_000 + secrets.randbelow(50_000)}u"
    trace = f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
    return encoder.encode([("grpc-timeout", timeout, True), ("traceparent", trace, True)])
