"""Measures peers one after the other: install, start, check, load, check again, end."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import onnx

from benchmarks.peers.answers import Expected, compare
from benchmarks.peers.others import Others
from benchmarks.peers.peer import Pace, Peer, PeerError, Started
from benchmarks.peers.processes import cpu_s, ended
from benchmarks.peers.report import Load, Row
from benchmarks.ranker import ranker
from benchmarks.result import say
from serving.bundles.bundle import GRAPH
from serving.errors import NearlineError

CONNECTIONS = 4
STREAMS = (1, 16, 64)
_START_S = 180.0
_LOOK_S = 0.2


@dataclass(frozen=True, slots=True)
class Durations:
    """Of each load, seconds; streams: the loads, by requests at any time on each connection."""

    seconds: float
    warm_s: float
    streams: Sequence[int] = STREAMS


@contextmanager
def model_file(seed: int = 0) -> Iterator[Path]:
    """The ONNX file that all of them serve."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / GRAPH
        onnx.save(ranker(seed), path)
        yield path


def in_process(model: Path, seconds: float) -> Row:
    """ONNX Runtime in a loop at batch 1, on the server's core, without any server."""
    command = [sys.executable, "-m", "benchmarks.inprocess", str(model.parent), str(seconds)]
    others = Others(list)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    row = Row("ONNX Runtime in process", "none", "batch 1, no server", others=others.cores())
    row.loads[1] = Load(per_s=float(done.stdout))
    return row


def measure(peer: Peer, model: Path, expected: Expected, durations: Durations) -> Iterator[Row]:
    """Yield a row for each configuration, or one that says why the peer cannot be had."""
    try:
        peer.install()
        versions = dict(peer.versions())
    except PeerError as error:
        yield Row(peer.name, peer.caller.protocol, "", reason=str(error))
        return
    for name, options in peer.configurations.items():
        row = Row(peer.name, peer.caller.protocol, name, versions=versions)
        say(f"{peer.name} ({name}) …")
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
            folder = Path(scratch)
            try:
                with peer.start(model, folder, options) as started:
                    _wait_ready(peer, started, expected)
                    others = Others(started.processes)
                    row.loads.update(_loads(peer, started, expected, durations))
                    row.others = others.cores()
            except (PeerError, NearlineError, OSError, RuntimeError) as error:
                row.loads.clear()
                row.reason = " ".join(str(error).split())[:300]
                say(f"  {row.reason}\n{_last_words(folder)}")
        yield row


def _loads(peer: Peer, started: Started, expected: Expected, durations: Durations) -> dict[int, Load]:
    _check(peer, started, expected)
    found = {}
    for m in durations.streams:
        pace = Pace(CONNECTIONS, CONNECTIONS * m, durations.seconds, durations.warm_s)
        before = cpu_s(started.processes())
        came = peer.caller.load(started.port, expected.rows[0], expected.answers[0], pace)
        used = cpu_s(started.processes()) - before
        if not came.per_s:
            raise PeerError("no request was answered while it was timed")
        # Answers of the warm-up cost CPU, too, and came at about that rate.
        cpu_us = used / (came.per_s * (durations.seconds + durations.warm_s)) * 1e6
        found[m] = Load(came.per_s, came.p50_ms, came.p99_ms, cpu_us)
        say(f"  m={m}: {found[m].words()}, {cpu_us:.0f} us of CPU a request")
    _check(peer, started, expected)
    return found


def _check(peer: Peer, started: Started, expected: Expected) -> None:
    for row, answer in zip(expected.rows, expected.answers, strict=True):
        compare(peer.caller.ask(started.port, row), answer)


def _wait_ready(peer: Peer, started: Started, expected: Expected, now: Callable[[], float] = time.monotonic) -> None:
    deadline = now() + _START_S
    while True:
        try:
            peer.caller.ask(started.port, expected.rows[0])
            return
        except (PeerError, OSError) as error:
            if ended(started):
                raise PeerError("the server ended before it answered") from None
            if now() > deadline:
                raise PeerError(f"no answer within {_START_S:g} s: {error}") from None
        time.sleep(_LOOK_S)


def _last_words(folder: Path) -> str:
    logs = [folder / "server.log", folder / "data" / "node.log"]
    return "\n".join(log.read_text(errors="replace")[-2_000:] for log in logs if log.exists())
