"""Whether a trial kept to what the manifest says that the model may take."""

from protos.nearline.v1 import status_pb2
from serving.bundles.about import Limits
from serving.bundles.trial import TrialReport
from serving.errors import ModelError


def check_budgets(report: TrialReport, limits: Limits) -> None:
    """Raise ModelError: RESOURCE for memory, WARMUP for latency.

    The trial must have measured the sizes of `limits.latency_ms`. A machine that is busy just now makes every model
    slow: that may be tried again. What a model takes of memory stays as it is.
    """
    most = limits.resident_bytes
    if most is not None and report.peak_bytes > most:
        raise ModelError(
            status_pb2.RESOURCE,
            f"limits.resident_bytes: expected at most {most}, got {report.peak_bytes} in the trial",
            rejected=True,
        )
    for rows, budget in limits.latency_ms.items():
        seconds = report.latencies.get(rows)
        field = f"limits.latency_ms of {rows} rows: expected at most {budget:g}"
        if seconds is None:
            raise ModelError(
                status_pb2.WARMUP, f"{field}, got a model that takes its samples' shape only", rejected=True
            )
        if seconds * 1000 > budget:
            raise ModelError(status_pb2.WARMUP, f"{field}, got {seconds * 1000:.2f} in the trial")
