"""The gate: everything that a bundle has to pass before it is announced. It looks, and announces nothing."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from protos.nearline.v1 import status_pb2
from protos.records import ModelRecord
from publisher.gate.demands import Demands, Hook, read_metrics
from publisher.gate.fleet import check_fleet
from publisher.gate.report import Check, GateError
from publisher.gate.signature import check_signature, replaced
from publisher.signing import open_ledger
from serving.artifacts.store import FsspecArtifacts
from serving.bundles.bundle import MANIFEST, open_bundle
from serving.bundles.look import HELPER_S
from serving.bundles.manifest import read_manifest
from serving.bundles.session import ModelSession
from serving.bundles.trial import TrialReport, try_bundle
from serving.bundles.trial_local import local_helper
from serving.bus.port import Bus
from serving.bus.read_status import read_fleet
from serving.errors import InvalidRequestError, ModelError, UserError
from serving.settings import Settings

BATCHES = (1, 16, 64)
"""Rows of the runs whose latency is measured, beside those that have a budget."""


class Passage(NamedTuple):
    """What the gate found, and how the trial went."""

    checks: tuple[Check, ...]
    trial: TrialReport


def pass_gate(folder: Path, name: str, version: int | None, demands: Demands, settings: Settings, bus: Bus) -> Passage:
    """Look at a bundle from all sides; return what was found, or raise GateError with it."""
    limits = read_manifest((folder / MANIFEST).read_bytes()).limits
    demands = demands.completed(limits)
    try:
        report = try_bundle(
            folder,
            *limits.trial(settings.trial_timeout_s, settings.trial_memory_bytes),
            batches=sorted({*BATCHES, *demands.latency_ms}),
            helper=local_helper.socket(),
            begin_s=HELPER_S,
        )
    except ModelError as error:
        kind = status_pb2.ErrorKind.Name(error.kind)
        raise GateError((Check("trial", False, "to load and to answer its samples", f"{kind}: {error}"),)) from error
    bundle = open_bundle(folder)
    record = open_ledger(bus, settings).read().models.get(name) or ModelRecord()
    before = replaced(record, version)
    artifacts = FsspecArtifacts(settings.artifacts_url)
    checks = (
        Check("trial", True, "to load and to answer its samples", f"{report.seconds:.2f} s"),
        *_latencies(report, demands),
        _memory(report, demands),
        *check_fleet(report, read_fleet(bus, settings.topics.status.name)),
        *(check_signature(bundle.manifest, before, artifacts, breaking=demands.breaking) if before else ()),
        *_metrics(folder, demands),
    )
    if not all(check.passed for check in checks):
        raise GateError(checks)
    return Passage(checks, report)


def _latencies(report: TrialReport, demands: Demands) -> list[Check]:
    found = []
    for rows, seconds in sorted(report.latencies.items()):
        most = demands.latency_ms.get(rows)
        if seconds is None:  # it takes its samples' shape only
            if most is not None:
                found.append(Check(f"latency of {rows} rows", False, f"at most {most:g} ms", "a model of one shape"))
            continue
        passed = most is None or seconds * 1000 <= most
        expected = "" if most is None else f"at most {most:g} ms"
        found.append(Check(f"latency of {rows} rows", passed, expected, f"{seconds * 1000:.2f} ms"))
    return found


def _memory(report: TrialReport, demands: Demands) -> Check:
    most = demands.memory_bytes
    expected = "" if most is None else f"at most {most / 2**20:.0f} MiB"
    return Check("memory", most is None or report.peak_bytes <= most, expected, f"{report.peak_bytes / 2**20:.0f} MiB")


def _metrics(folder: Path, demands: Demands) -> list[Check]:
    metrics = read_metrics("metric", demands.metrics)
    if demands.hook is not None:
        metrics |= _hooked(folder, demands.hook)
    bounds = {bound.metric for bound in demands.requirements}
    return [
        *(
            Check(
                f"metric {r.metric}",
                r.metric in metrics and r.met(metrics[r.metric]),
                str(r),
                _value(metrics, r.metric),
            )
            for r in demands.requirements
        ),
        *(Check(f"metric {name}", True, "", _value(metrics, name)) for name in sorted(metrics.keys() - bounds)),
    ]


def _hooked(folder: Path, hook: Hook) -> dict[str, float]:
    """What the user's own code computes: whatever it does wrong is an error of one line."""
    session = ModelSession.open(folder)
    try:
        said: object = hook(open_bundle(folder), session)
    except Exception as error:
        why = " ".join(str(error).split())
        raise UserError(f"--hook: expected metrics, got {type(error).__name__}: {why}") from error
    finally:
        session.close()
    if not isinstance(said, Mapping):
        raise InvalidRequestError("--hook", "numbers by name", type(said).__name__)
    return read_metrics("--hook: metric", said)


def _value(metrics: dict[str, float], name: str) -> str:
    return f"{metrics[name]:g}" if name in metrics else "no such metric"
