"""What a load is: which calls, how they are paced, for how long, from how many processes. Pickled to each of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from serving.errors import InvalidRequestError

MOST_PROCESSES = 64
MOST_CONNECTIONS = 1_000
MOST_STREAMS = 10_000
_MOST_RATE = 10_000_000.0
_LONGEST_S = 7 * 86_400.0


@dataclass(frozen=True, slots=True)
class Open:
    """Calls arrive by a Poisson process, `rate` a second over all processes, whether or not the server keeps up."""

    rate: float


@dataclass(frozen=True, slots=True)
class Closed:
    """So many calls run at any time, over all processes; the next one begins when one ends."""

    running: int


@dataclass(frozen=True, slots=True)
class Plan:
    """A load.

    target: host:port. path: of the unary method. requests: encoded messages, one of which each call sends; drawn
    evenly, or by Zipf's law with the exponent `skew`, the first ones most often.
    read: names the kind of an answer from its encoded message; has to be importable, as processes of their own call it.
    warm_s: beforehand, and not counted. timeout_s: deadline of a call, and how long is waited for the last ones.
    connections: of each process. streams: calls that run on one connection at most.
    slice_s: figures are kept apart by when their calls were due, in slices of this length.
    certificates: PEM file of the CA for TLS; "" = what the system trusts; None = no TLS.
    """

    target: str
    path: str
    requests: Sequence[bytes] = field(repr=False)
    read: Callable[[bytes], str]
    pacing: Open | Closed
    duration_s: float
    warm_s: float = 1.0
    timeout_s: float = 10.0
    processes: int = 1
    connections: int = 4
    streams: int = 100
    skew: float = 0.0
    seed: int = 0
    slice_s: float = 1.0
    metadata: Mapping[str, str] = field(default_factory=dict)
    certificates: Path | str | None = None

    def check(self) -> None:
        """InvalidRequestError names the option."""
        host, _, port = self.target.rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 1 << 16:
            raise InvalidRequestError("--target", "host:port", repr(self.target))
        if not self.requests:
            raise InvalidRequestError("requests", "at least one", "none")
        _within("--duration", self.duration_s, 0.1, _LONGEST_S)
        _within("--warm", self.warm_s, 0.0, _LONGEST_S)
        _within("--timeout", self.timeout_s, 0.001, 3600.0)
        _within("--processes", self.processes, 1, MOST_PROCESSES)
        _within("--connections", self.connections, 1, MOST_CONNECTIONS)
        _within("--streams", self.streams, 1, MOST_STREAMS)
        if isinstance(self.pacing, Open):
            _within("--rate", self.pacing.rate, 0.001, _MOST_RATE)
        else:
            most = self.processes * self.connections * self.streams
            _within("--closed (at most processes x connections x streams)", self.pacing.running, self.processes, most)

    @property
    def host(self) -> str:
        """Of the target, without the brackets of an IPv6 address."""
        return self.target.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """Of the target."""
        return int(self.target.rpartition(":")[2])


def _within(option: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise InvalidRequestError(option, f"{least:g} to {most:g}", f"{value:g}")
