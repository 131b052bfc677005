"""Header blocks of calls: that of a connection's first call, and those of all others, which refer to it.

What is fresh on every call is added as literals that no table keeps, as gRPC's clients send it, so that a server cannot
know a block that it has seen. So is the deadline of a call that waited for room, and has less time left than others.
"""

import os
from binascii import hexlify
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from itertools import chain, cycle, repeat

import hpack
import numpy as np

from serving.loadtest import frames
from serving.loadtest.plan import Plan

_DRAWN = 1 << 12
_SPREAD = 0.05
"""Fresh deadlines are up to so much shorter than the time-out."""
_MOST_US = 99_000_000
"""What `grpc-timeout` can say in microseconds: it has eight digits."""
_TRACE_BYTES, _SPAN_BYTES = 16, 8


def heads(plan: Plan, table: int) -> Iterator[bytes]:
    """Yield a block for each call of a connection. `table`: bytes that the server keeps."""
    first, again = request_blocks(plan, {**_same(plan), **plan.metadata}, table)
    if plan.deadline == "fresh" or plan.traceparent:
        extras = _fresh(plan)
        return (block + extra for block, extra in zip(chain((first,), repeat(again)), extras, strict=False))
    return chain((first,), repeat(again))


def less_time(plan: Plan, table: int) -> Callable[[int], bytes]:
    """Return what makes a block for a call, not the first one, that has so many milliseconds left."""
    same = _same(plan)
    _, again = request_blocks(plan, {**same, **plan.metadata}, table)
    fields = _fields(plan, {**same, **plan.metadata})
    if table >= frames.PROTOCOL_TABLE and len(again) == len(fields):  # each field is a number of one byte
        at = [name for name, _ in fields].index("grpc-timeout")
        base = again[:at] + again[at + 1 :]
    else:
        base = b"".join(literal(name, value) for name, value in _fields(plan, dict(plan.metadata)))
    return lru_cache(_DRAWN)(lambda left_ms: base + literal("grpc-timeout", f"{left_ms}m"))


def request_blocks(plan: Plan, more: dict[str, str], table: int) -> tuple[bytes, bytes]:
    """Return the block of the first call, and that of all others; with too small a table both say all of it."""
    fields = _fields(plan, more)
    if table < frames.PROTOCOL_TABLE:
        again = b"".join(literal(name, value) for name, value in fields)
        return b"\x20" + again, again
    encoder = hpack.Encoder()
    return encoder.encode(fields), encoder.encode(fields)


def _same(plan: Plan) -> dict[str, str]:
    return {"grpc-timeout": f"{max(1, round(plan.timeout_s * 1000))}m"} if plan.deadline == "same" else {}


def _fields(plan: Plan, more: Mapping[str, str]) -> list[tuple[str, str]]:
    return [
        (":method", "POST"),
        (":scheme", "http" if plan.tls is None else "https"),
        (":path", plan.path),
        (":authority", plan.target),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("user-agent", "nearline-bench"),
        *more.items(),
    ]


def literal(name: str, value: str) -> bytes:
    """Literal without indexing, new name, no Huffman (RFC 7541 §6.2.2)."""
    return b"\0" + _text(name) + _text(value)


def _fresh(plan: Plan) -> Iterator[bytes]:
    """Yield the fields of a call that no other call has."""
    timeouts: Iterator[bytes] = cycle(_timeouts(plan.timeout_s)) if plan.deadline == "fresh" else repeat(b"")
    if not plan.traceparent:
        return timeouts
    return (timeout + trace for timeout, trace in zip(timeouts, _traceparents(), strict=False))


def _timeouts(timeout_s: float) -> list[bytes]:
    least = timeout_s * (1 - _SPREAD)
    drawn = np.random.default_rng().uniform(least, timeout_s, _DRAWN)
    unit, name = (1e6, "u") if timeout_s * 1e6 <= _MOST_US else (1e3, "m")
    return [literal("grpc-timeout", f"{max(1, round(seconds * unit))}{name}") for seconds in drawn.tolist()]


def _traceparents() -> Iterator[bytes]:
    """As W3C's Trace Context asks for: sampled, with random ids; never the same again."""
    empty = literal("traceparent", f"00-{'0' * 2 * _TRACE_BYTES}-{'0' * 2 * _SPAN_BYTES}-01")
    before = empty[: empty.index(b"00-") + 3]
    trace, span = 2 * _TRACE_BYTES, 2 * (_TRACE_BYTES + _SPAN_BYTES)
    while True:
        digits = hexlify(os.urandom(_DRAWN * span // 2))
        for at in range(0, len(digits), span):
            yield before + digits[at : at + trace] + b"-" + digits[at + trace : at + span] + b"-01"


def _text(text: str) -> bytes:
    data = text.encode()
    if len(data) < 0x7F:  # noqa: PLR2004 - what fits the prefix of 7 bits (RFC 7541 §5.1)
        return bytes((len(data),)) + data
    rest, out = len(data) - 0x7F, bytearray(b"\x7f")
    while rest >= 0x80:  # noqa: PLR2004 - as above
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out) + data
