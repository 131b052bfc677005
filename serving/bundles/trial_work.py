"""What a trial does, in a process that is confined to it: checks the graph, loads it, runs its samples, measures.

Whatever a graph does to this process, it does to nothing else.
"""

import io
import re
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from protos.nearline.v1 import status_pb2
from serving.bundles.abilities import runtime_limits
from serving.bundles.bundle import SAMPLES, Bundle, open_bundle
from serving.bundles.check import check_graph, operators_of
from serving.bundles.probe import check_signature, run_samples, sample_rows
from serving.bundles.samples import read_samples
from serving.bundles.session import ModelSession
from serving.errors import ModelError

_RUNS, _RUNS_S = 20, 1.0
"""Of one size of batch: at most so many, and no new one after so long."""


class Memory:
    """The memory that this process has resident, and the most that it has had, of which the system keeps count."""

    _PEAK = re.compile(rb"VmHWM:\s*(\d+) kB")
    _OWN = re.compile(rb"RssAnon:\s*(\d+) kB")

    def __init__(self) -> None:
        self._status: io.FileIO | None = None
        # Read by its open file later, when no other can be opened.
        with suppress(OSError):
            self._status = Path("/proc/self/status").open("rb", buffering=0)  # noqa: SIM115
        self._before = self.peak()
        self._own_before = self._read(self._OWN)
        self._own_most = 0

    def peak(self) -> int:
        """Bytes, libraries included; 0 where the system does not say."""
        return self._read(self._PEAK)

    def growth(self) -> int:
        """Bytes more than at the beginning."""
        return self.peak() - self._before

    def private(self) -> int:
        """Bytes of its own, which are no file's, more than at the beginning: the most of what was seen so far, and now.

        The system keeps count of no peak of them; that of all has pages of files in it, which a fork reads in anew.
        """
        self._own_most = max(self._own_most, self._read(self._OWN) - self._own_before)
        return self._own_most

    def _read(self, what: re.Pattern[bytes]) -> int:
        if self._status is None:
            return 0
        self._status.seek(0)
        found = what.search(self._status.read())
        return int(found[1]) * 1024 if found else 0


def prepare() -> None:
    """Import and open what a trial needs beside its bundle: later the process may not."""
    runtime_limits()
    stored = io.BytesIO()
    np.savez(stored, x=np.zeros(1))
    stored.seek(0)
    with np.load(stored) as archive:
        archive["x"]


def try_folder(folder: Path, batches: Sequence[int], memory: Memory) -> dict[str, Any]:
    """Try a bundle; the report, as JSON has it. `batches`: sizes whose latency is to be measured."""
    return _reported(lambda: _try(folder, batches, memory))


def look_at_folder(folder: Path) -> dict[str, Any]:
    """Open a graph, and run the samples beside it, if there are any; the report has its signature, as JSON has it."""
    return _reported(lambda: _look(folder))


def _reported(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return work()
    except ModelError as error:
        kind = status_pb2.ErrorKind.Name(error.kind)
        # The bundle is whole, its digest says so: what this runtime cannot load, it will not load later.
        rejected = error.rejected or error.kind == status_pb2.LOAD
        return {"kind": kind, "message": str(error), "detail": error.detail, "rejected": rejected}
    except MemoryError:
        return {"kind": "RESOURCE", "message": "more memory than a trial may take", "detail": "", "rejected": True}


def _try(folder: Path, batches: Sequence[int], memory: Memory) -> dict[str, Any]:
    began = time.perf_counter()
    bundle = open_bundle(folder)
    graph = check_graph(folder)
    with _memory_told():
        session = ModelSession.open(folder)
    memory.private()
    check_signature(bundle, session)
    with _memory_told():
        run_samples(bundle, session)
        seconds = time.perf_counter() - began
        latencies = {str(rows): _latency(bundle, session, rows) for rows in batches}
    return {
        "seconds": seconds,
        "peak_bytes": memory.peak(),
        "model_bytes": memory.growth(),
        "private_bytes": memory.private(),
        "latencies": latencies,
        "ir_version": graph.ir_version,
        "opsets": {imported.domain: imported.version for imported in graph.opset_import},
        "operators": operators_of(graph),
    }


def _look(folder: Path) -> dict[str, Any]:
    with _memory_told():
        session = ModelSession.open(folder)
        if (folder / SAMPLES).exists():
            session.run(read_samples(folder / SAMPLES), None)
    return {
        "inputs": [tensor.model_dump() for tensor in session.inputs],
        "outputs": [tensor.model_dump() for tensor in session.outputs],
    }


@contextmanager
def _memory_told() -> Iterator[None]:
    """ONNX Runtime turns a failed allocation into an error of its own words."""
    try:
        yield
    except ModelError as error:
        words = f"{error} {error.detail}"
        if any(said in words for said in ("bad_alloc", "Failed to allocate memory", "bad allocation")):
            message = f"more memory than a trial may take: {error}"
            raise ModelError(status_pb2.RESOURCE, message, rejected=True) from error
        raise


def _latency(bundle: Bundle, session: ModelSession, rows: int) -> float | None:
    """Median seconds of a run with so many rows; None where the model takes its samples' shape only."""
    inputs = sample_rows(bundle, session, rows)
    if inputs is None:
        return None
    session.run(inputs, None)
    took: list[float] = []
    until = time.perf_counter() + _RUNS_S
    while not took or (len(took) < _RUNS and time.perf_counter() < until):
        began = time.perf_counter()
        session.run(inputs, None)
        took.append(time.perf_counter() - began)
    return statistics.median(took)
