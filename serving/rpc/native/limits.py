"""Limits of the server as a whole; those of one connection are in http2/limits.py. `docs/transport.md` lists them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from serving.errors import InvalidRequestError
from serving.rpc.http2.limits import MAX_FRAME, MAX_WINDOW, MIN_FRAME, ConnectionLimits


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """What all clients together, and the patience with each of them, may cost."""

    handshake_s: float = 10.0
    """From the connection to HTTP/2's first SETTINGS; TLS has as long for itself."""
    stalled_s: float = 10.0
    """For a frame, header block or request that has begun, and for a peer that takes nothing of what it asked for."""
    least_bytes_per_s: int = 240
    """That a peer has to move, of what waits for it, over `stalled_s` (Kestrel's and IIS's least rate)."""
    idle_s: float = 300.0
    """Without a call, whatever PINGs come."""
    age_s: float = 1800.0
    """After it, and up to a tenth more, a connection is told to go (gRPC core: MAX_CONNECTION_AGE)."""
    age_grace_s: float = 30.0
    """For what runs on it then."""
    connections: int = 10_000
    """At once; then, as when descriptors run out, no more are accepted until one ends."""
    spare_descriptors: int = 64
    """Of the process's limit, left to everything else."""
    running_calls: int = 1_000
    """Unary calls that wait for a handler at once; one more is RESOURCE_EXHAUSTED at once, not queued."""
    streaming_calls: int = 2_000
    """Likewise of streaming methods, whose calls last for as long as both sides like, and may do nothing meanwhile."""
    wait_s: float = 2.0
    """Of handling what was read at once, after which a call is not begun; at most three quarters of its time."""
    buffered_bytes: int = 256 << 20
    """Received and not consumed, or not taken by peers, of all connections; then calls are RESOURCE_EXHAUSTED."""
    compress_bytes: int = 0
    """Answers from this size are compressed for clients that accept it; 0 = none are."""
    connection: ConnectionLimits = field(default_factory=ConnectionLimits)


def read_limits(given: Mapping[str, float]) -> ServerLimits:
    """Return the limits with some of them set; InvalidRequestError. Names are those of both classes."""
    ours = {f.name: f.default for f in fields(ServerLimits) if f.name != "connection"}
    theirs = {f.name: f.default for f in fields(ConnectionLimits)}
    # Both have `buffered_bytes`: the connection's has its prefix.
    names = {(f"connection_{name}" if name in ours else name): (theirs, name) for name in theirs}
    names |= {name: (ours, name) for name in ours}
    for name, value in given.items():
        if name not in names:
            raise InvalidRequestError(f"rpc_limits.{name}", f"one of {', '.join(sorted(names))}", "another name")
        known, key = names[name]
        if value < 0 or (value == 0 and key not in _MAY_BE_ZERO):
            raise InvalidRequestError(f"rpc_limits.{name}", "a positive number", value)
        least, most = _BOUNDS.get(key, (0, MAX_WINDOW))
        if not least <= value <= most:
            raise InvalidRequestError(f"rpc_limits.{name}", f"{least} to {most}", value)
        known[key] = value if isinstance(known[key], float) else int(value)
    return ServerLimits(**ours, connection=ConnectionLimits(**theirs))  # type: ignore[arg-type]


_MAY_BE_ZERO = {"compress_bytes", "spare_descriptors", "age_grace_s", "header_table_bytes"}
_BOUNDS = {"frame_bytes": (MIN_FRAME, MAX_FRAME), "connection_window": (65_535, MAX_WINDOW)}
