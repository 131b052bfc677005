"""What a peer is: what to install, which configurations to try, how to start it and how to call it."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
import psutil
from numpy.typing import NDArray


class Answer(NamedTuple):
    """Of one row: `items` INT64 [20], `scores` FP32 [20]."""

    items: NDArray[np.int64]
    scores: NDArray[np.float32]


class PeerError(Exception):
    """Why a peer could not be measured: one line, which the table shows."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What came of a load: answers a second, latency in milliseconds."""

    per_s: float
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Pace:
    """`running` requests at any time over `connections`, for `seconds` after `warm_s`."""

    connections: int
    running: int
    seconds: float
    warm_s: float


class Caller(Protocol):
    """The client's side of a protocol, for a model that takes a row, FP32 [1, 64]."""

    protocol: ClassVar[str]

    def ask(self, port: int, row: NDArray[np.float32]) -> Answer:
        """Ask once; OSError or PeerError."""
        ...

    def load(self, port: int, row: NDArray[np.float32], expected: Answer, pace: Pace) -> Figures:
        """Keep asking for the row; PeerError when a request failed."""
        ...


class Started(NamedTuple):
    """A server that runs: its port, and those of its processes that use CPU for requests."""

    port: int
    processes: Callable[[], Sequence[psutil.Process]]


Start = Callable[[Path, Path, Mapping[str, Any]], AbstractContextManager[Started]]
"""Of the ONNX file, a folder for files of its own, and a configuration's options: starts a server of the model on the
server's core, and ends it with all its processes after the `with`."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A server to be compared with.

    key: what --only calls it. configurations: what is tried, by name: options of `start`.
    versions: of what is measured, its own package first after `python`. install: makes it available; PeerError.
    """

    key: str
    name: str
    start: Start
    caller: Caller
    configurations: Mapping[str, Mapping[str, Any]]
    versions: Callable[[], Mapping[str, str]]
    install: Callable[[], None] = field(default=lambda: None)
