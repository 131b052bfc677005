"""What a load is: which calls, how they are paced, for how long, from how many processes. Pickled to each of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from serving.errors import InvalidRequestError
from serving.loadtest.secure import Tls

MOST_PROCESSES = 64
MOST_CONNECTIONS = 1_000
MOST_STREAMS = 10_000
_MOST_RATE = 10_000_000.0
_LONGEST_S = 7 * 86_400.0


@dataclass(frozen=True, slots=True)
class Surge:
    """Another rate for a part of the time, in seconds from when calls begin to count."""

    rate: float
    first_s: float
    last_s: float


@dataclass(frozen=True, slots=True)
class Open:
    """Calls arrive by a Poisson process, `rate` a second over all processes, whether or not the server keeps up.

    even: with equal gaps instead, as other load generators do. surges: in order of time, none within another.
    bunch: so many calls are due at a time, which is how some load generators keep a rate.
    """

    rate: float
    even: bool = False
    surges: Sequence[Surge] = ()
    bunch: int = 1


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
    None: answers are only counted, in a closed loop (counting.py), as cheaply as can be; there are no latencies then.
    warm_s: beforehand, and not counted. timeout_s: deadline of a call, and how long is waited for the last ones.
    deadline: whether calls carry it: the `same` one, or what is left of it where they waited for room; or a `fresh` one
    each, as of clients that have used up a part of theirs. traceparent: a fresh one on each call, sampled.
    connections: of each process. streams: calls that run on one connection at most.
    slice_s: figures are kept apart by when their calls were due, in slices of this length.
    """

    target: str
    path: str
    requests: Sequence[bytes] = field(repr=False)
    read: Callable[[bytes], str] | None
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
    deadline: Literal["same", "fresh", "none"] = "same"
    traceparent: bool = False
    tls: Tls | None = None

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
        if self.tls is not None:
            self.tls.check()
        if isinstance(self.pacing, Open):
            if self.read is None:
                raise InvalidRequestError("--count-only", "a closed loop: --closed", "an open one")
            for rate in (self.pacing.rate, *(surge.rate for surge in self.pacing.surges)):
                _within("--rate", rate, 0.001, _MOST_RATE)
            _within("bunch", self.pacing.bunch, 1, _MOST_RATE)
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
