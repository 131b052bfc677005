"""Loads and runs a bundle once in a throw-away process that is confined: a crash there is a status, not an outage."""

import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from protos.nearline.v1 import status_pb2
from serving.bundles.check import Operator
from serving.bundles.trial_client import BEGIN_S, HelperAwayError, ask_helper
from serving.bundles.trial_order import Ended, Order, bare_environment
from serving.errors import ModelError

log = logging.getLogger(__name__)
"""Not structlog: a publisher has not set that up, and it would write to standard output."""

_ASK_S = 0.1


@dataclass(frozen=True, slots=True)
class TrialReport:
    """How a passed trial went.

    seconds: from opening the bundle until its samples had run. peak_bytes: most memory of the process; model_bytes:
    what the model added to it; private_bytes: what every process that loads it takes for itself, beside the pages of
    its external weights, of which all processes have one copy. 0 where the system does not say. latencies: median
    seconds of a run, by rows; None for a model of one shape. operators: those of the graph.
    """

    seconds: float
    peak_bytes: int
    model_bytes: int = 0
    private_bytes: int = 0
    latencies: Mapping[int, float | None] = field(default_factory=dict)
    ir_version: int = 0
    opsets: Mapping[str, int] = field(default_factory=dict)
    operators: Sequence[Operator] = ()


class TrialAbandonedError(Exception):
    """Nobody wants the outcome any more."""


def try_bundle(
    folder: Path,
    timeout_s: float,
    memory_bytes: int,
    wanted: Callable[[], bool] = lambda: True,
    *,
    batches: Sequence[int] = (),
    helper: socket.socket | None = None,
    begin_s: float = BEGIN_S,
) -> TrialReport:
    """Try a bundle; ModelError with the kind that is published. `memory_bytes`: beside the bundle's own size.

    `wanted` is asked now and then; TrialAbandonedError once it says no. `batches`: sizes whose latency is measured,
    which has time of its own, beside `timeout_s`. `helper`: makes the process faster; without it, or when it does not
    begin within `begin_s`, a process is started here.
    """
    order = Order.of(folder, timeout_s, memory_bytes, batches)
    said = carry_out(order, wanted, helper=helper, begin_s=begin_s)
    latencies = {int(rows): seconds for rows, seconds in said.pop("latencies", {}).items()}
    operators = [Operator(*one) for one in said.pop("operators", ())]
    report = TrialReport(**said, latencies=latencies, operators=operators)
    if batches and report.seconds > timeout_s:  # the process had longer, to measure: nodes give it no more than this
        took = f"trial: expected to end within {timeout_s:g} s, got {report.seconds:.2f} s"
        raise ModelError(status_pb2.TIMEOUT, took, rejected=True)
    return report


def carry_out(
    order: Order,
    wanted: Callable[[], bool] = lambda: True,
    *,
    helper: socket.socket | None = None,
    begin_s: float = BEGIN_S,
) -> dict[str, Any]:
    """Return what the process of a trial reports; the rest as of `try_bundle`."""
    ended = None
    if helper is not None:
        try:
            ended = ask_helper(helper, order, wanted, begin_s)
        except HelperAwayError:
            log.warning("trial: the helper does not answer; starting a process for this trial")
            ended = _started(order, wanted)
    else:
        ended = _started(order, wanted)
    if ended is None:
        raise TrialAbandonedError
    return _read(ended, order.timeout_s)


def _started(order: Order, wanted: Callable[[], bool]) -> Ended | None:
    """Start a process of its own for the trial, and wait for it; None once nobody wants it."""
    child = subprocess.Popen(
        [sys.executable, "-m", "serving.bundles.trial_child", order.encode().decode()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=bare_environment(),
        start_new_session=True,
    )
    deadline = time.monotonic() + order.timeout_s
    try:
        while True:
            try:
                out, err = child.communicate(timeout=min(_ASK_S, max(0.0, deadline - time.monotonic())))
            except subprocess.TimeoutExpired:
                if not wanted():
                    return None
                if time.monotonic() >= deadline:
                    return Ended(None, "", "")
            else:
                return Ended(child.returncode, out.decode(errors="replace"), err.decode(errors="replace"))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        for pipe in (child.stdout, child.stderr):
            if pipe:
                pipe.close()


def _read(ended: Ended, timeout_s: float) -> dict[str, Any]:
    code, err = ended.code, ended.err[-4096:]
    if code is None:
        raise ModelError(
            status_pb2.TIMEOUT, f"trial: expected to end within {timeout_s:g} s, got killed", rejected=True
        )
    if code < 0:
        name = next((s.name for s in signal.Signals if s == -code), f"signal {-code}")
        if -code == signal.SIGXCPU:
            raise ModelError(status_pb2.TIMEOUT, "trial: more processor time than a model may take", rejected=True)
        if -code == signal.SIGKILL:  # a trial is what the system ends first when memory is short: no fault of the model
            message = "trial: the process was killed from outside; is the machine out of memory?"
            raise ModelError(status_pb2.RESOURCE, message, detail=err)
        raise ModelError(status_pb2.CRASH, f"trial: the process died by {name}", detail=err, rejected=True)
    try:
        report: dict[str, Any] = json.loads(ended.out.splitlines()[-1])
    except (ValueError, IndexError):
        message = f"trial: the process ended with exit code {code} and no report"
        kind = status_pb2.RESOURCE if "MemoryError" in err or "bad_alloc" in err else status_pb2.CRASH
        raise ModelError(kind, message, detail=err, rejected=True) from None
    if unconfined := report.pop("unconfined", None):
        log.warning("trial: this system cannot confine a model: no %s", ", ".join(unconfined))
    if "kind" in report:
        raise ModelError(
            status_pb2.ErrorKind.Value(report["kind"]),
            report["message"],
            detail=report["detail"] or err,
            rejected=report["rejected"],
        )
    return report
