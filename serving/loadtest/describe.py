"""An outcome as JSON: for programs, and to be compared with later ones."""

from typing import Any

from serving.loadtest.latencies import Latencies
from serving.loadtest.outcome import Outcome, percentiles
from serving.loadtest.plan import Closed


def describe(outcome: Outcome) -> dict[str, Any]:
    """Return all figures; latencies in milliseconds, beside the histogram in HdrHistogram's own encoding (of us)."""
    plan = outcome.plan
    closed = isinstance(plan.pacing, Closed)
    return {
        "target": plan.target,
        "method": plan.path,
        "pacing": {"closed": plan.pacing.running} if isinstance(plan.pacing, Closed) else {"rate": plan.pacing.rate},
        "duration_s": plan.duration_s,
        "warm_s": plan.warm_s,
        "processes": plan.processes,
        "connections": plan.connections * plan.processes,
        "streams": plan.streams,
        "requests": len(plan.requests),
        "skew": plan.skew,
        "tls": plan.tls is not None,
        "deadline": plan.deadline,
        "traceparent": plan.traceparent,
        "seed": plan.seed,
        "offered_per_s": outcome.offered_rate,
        "achieved_per_s": outcome.achieved,
        "answered": outcome.answered,
        "failed": outcome.failed,
        "unsent": None if closed else outcome.unsent,
        "errors": dict(outcome.errors.most_common()),
        "messages": outcome.messages,
        "latency_ms": None if plan.read is None else _latencies(outcome.latencies()),
        "kinds": {kind: _latencies(outcome.latencies(kind)) for kind in outcome.kinds},
        "sent_late_ms": None if closed else percentiles(outcome.late.histogram()),
    }


def _latencies(latencies: Latencies) -> dict[str, Any]:
    histogram = latencies.histogram()
    encoded: bytes = histogram.encode()
    return {"count": latencies.count, **percentiles(histogram), "hdr": encoded.decode()}
