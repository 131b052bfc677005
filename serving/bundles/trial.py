"""Loads and runs a bundle once in a throw-away process: a crash there is a status, not an outage."""

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from protos.nearline.v1 import status_pb2
from serving.errors import ModelError

log = logging.getLogger(__name__)
"""Not structlog: a publisher has not set that up, and it would write to standard output."""

_ASK_S = 0.1
_RUNTIME_BYTES = 2 << 30
"""Address space that the interpreter, numpy and ONNX Runtime take before any model."""


@dataclass(frozen=True, slots=True)
class TrialReport:
    """How a passed trial went: seconds from opening the bundle, and the process's largest resident memory."""

    seconds: float
    peak_bytes: int


class TrialAbandonedError(Exception):
    """Nobody wants the outcome any more."""


def try_bundle(
    folder: Path, timeout_s: float, memory_bytes: int, wanted: Callable[[], bool] = lambda: True
) -> TrialReport:
    """Try a bundle; ModelError with the kind that is published. `memory_bytes`: beside the bundle's own size.

    `wanted` is asked now and then; TrialAbandonedError once it says no.
    """
    bundle_bytes = sum(path.stat().st_size for path in folder.iterdir())
    address_space = memory_bytes + 2 * bundle_bytes + _RUNTIME_BYTES
    command = [sys.executable, "-m", "serving.bundles.trial_child", str(folder), str(address_space)]
    child = subprocess.Popen(
        [*command, str(int(timeout_s) + 5)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=_environment(),
        start_new_session=True,
    )
    try:
        out, err = _communicate(child, timeout_s, wanted)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        for pipe in (child.stdout, child.stderr):
            if pipe:
                pipe.close()
    return _read(child.returncode, out, err.decode(errors="replace")[-4096:])


def _communicate(child: "subprocess.Popen[bytes]", timeout_s: float, wanted: Callable[[], bool]) -> tuple[bytes, bytes]:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return child.communicate(timeout=min(_ASK_S, max(0.0, deadline - time.monotonic())))
        except subprocess.TimeoutExpired:
            if not wanted():
                raise TrialAbandonedError from None
            if time.monotonic() >= deadline:
                raise ModelError(
                    status_pb2.TIMEOUT, f"trial: expected to end within {timeout_s:g} s, got killed", rejected=True
                ) from None


def _read(code: int, out: bytes, err: str) -> TrialReport:
    if code < 0:
        name = next((s.name for s in signal.Signals if s == -code), f"signal {-code}")
        if -code == signal.SIGXCPU:
            raise ModelError(status_pb2.TIMEOUT, "trial: more processor time than a model may take", rejected=True)
        raise ModelError(status_pb2.CRASH, f"trial: the process died by {name}", detail=err, rejected=True)
    try:
        report = json.loads(out.splitlines()[-1])
    except (ValueError, IndexError):
        message = f"trial: the process ended with exit code {code} and no report"
        kind = status_pb2.RESOURCE if "MemoryError" in err or "bad_alloc" in err else status_pb2.CRASH
        raise ModelError(kind, message, detail=err, rejected=True) from None
    if report.get("unlimited"):
        log.warning("trial: this system cannot limit %s; a model may take all there is", ", ".join(report["unlimited"]))
    if "kind" in report:
        raise ModelError(
            status_pb2.ErrorKind.Value(report["kind"]),
            report["message"],
            detail=report["detail"] or err,
            rejected=report["rejected"],
        )
    return TrialReport(report["seconds"], report["peak_bytes"])


def _environment() -> dict[str, str]:
    """Nothing of ours leaks in: no credentials, no settings. One thread, so that memory is predictable."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH") if name in os.environ}
    return {**kept, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
