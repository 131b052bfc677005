"""Whether the workers that are live say that they can load a graph: IR version, opsets, domains, operators."""

from collections.abc import Mapping

from protos.nearline.v1 import status_pb2
from protos.status_view import StatusView
from publisher.gate.operators import missing
from publisher.gate.report import Check
from serving.bundles.abilities import operators_digest, runtime_operators
from serving.bundles.trial import TrialReport
from serving.bus.read_status import Fleet

_NAME = "what live workers can load"
_Lack = tuple[str, str, str]
"""What it is, expected and actual."""


def check_fleet(report: TrialReport, fleet: Fleet) -> list[Check]:
    """A check for each part of a graph that some worker cannot load; one that passes when all can.

    A release that does not say one of these things is not compared by it.
    """
    if not fleet.live:
        return [Check(_NAME, True, "", "no node is live: not compared")]
    failed = [
        Check(f"{what} on {w.node}/{w.worker} (onnxruntime {w.runtime_version})", False, expected, actual)
        for w in fleet.live
        for what, expected, actual in (*_limits(report, w), *_operators(report, w, fleet.view))
    ]
    opsets = ", ".join(f"{_shown(domain)} {version}" for domain, version in sorted(report.opsets.items()))
    found = f"IR version {report.ir_version}, {opsets}, {len(report.operators)} operators"
    if silent := sum(_told(w, fleet.view) is None for w in fleet.live):
        found += f" ({silent} do not say which operators they have)"
    return failed or [Check(_NAME, True, f"by all {len(fleet.live)}", found)]


def _limits(report: TrialReport, worker: status_pb2.Presence) -> list[_Lack]:
    found = []
    if worker.max_ir_version and report.ir_version > worker.max_ir_version:
        found.append(("IR version", f"at most {worker.max_ir_version}", str(report.ir_version)))
    most: Mapping[str, int] = worker.max_opsets or {"": worker.max_opset or 2**31}
    for domain, opset in sorted(report.opsets.items()):
        limit = most.get("" if domain == "ai.onnx" else domain, opset)
        if opset > limit:
            found.append((f"opset of {_shown(domain)}", f"at most {limit}", str(opset)))
    if worker.operator_domains:
        unknown = report.opsets.keys() - set(worker.operator_domains)
        found += [("operator domain", f"one of {sorted(worker.operator_domains)}", repr(d)) for d in sorted(unknown)]
    return found


def _operators(report: TrialReport, worker: status_pb2.Presence, view: StatusView) -> list[_Lack]:
    theirs = _told(worker, view)
    if theirs is None or worker.operators == operators_digest():
        return []
    lacks = missing(report.operators, theirs, runtime_operators())
    return [("operator", "one that it can run", f"{o.name} of {_shown(o.domain)} {o.opset}") for o in lacks]


def _told(worker: status_pb2.Presence, view: StatusView) -> status_pb2.Operators | None:
    """What it says that it can run; None where it does not, or where nothing can be said here."""
    return view.operators(worker.operators) if worker.operators and operators_digest() else None


def _shown(domain: str) -> str:
    return domain or "ai.onnx"
