"""Whether the workers that are live say that they can load a graph: IR version, opset, operator domains."""

from collections.abc import Sequence

from protos.nearline.v1 import status_pb2
from publisher.gate.report import Check
from serving.bundles.trial import TrialReport

_DEFAULT = frozenset({"", "ai.onnx"})


def check_fleet(report: TrialReport, workers: Sequence[status_pb2.Presence]) -> list[Check]:
    """A check for each part of a graph that some worker cannot load; one that passes when all can."""
    name = "what live workers can load"
    if not workers:
        return [Check(name, True, "", "no node is live: not compared")]
    failed = [
        Check(f"{what} on {w.node}/{w.worker} (onnxruntime {w.runtime_version})", False, expected, actual)
        for w in workers
        for what, expected, actual in _missing(report, w)
    ]
    opsets = ", ".join(f"{domain or 'ai.onnx'} {version}" for domain, version in sorted(report.opsets.items()))
    return failed or [Check(name, True, f"by all {len(workers)}", f"IR version {report.ir_version}, {opsets}")]


def _missing(report: TrialReport, worker: status_pb2.Presence) -> list[tuple[str, str, str]]:
    found = []
    if worker.max_ir_version and report.ir_version > worker.max_ir_version:
        found.append(("IR version", f"at most {worker.max_ir_version}", str(report.ir_version)))
    opset = max((version for domain, version in report.opsets.items() if domain in _DEFAULT), default=0)
    if worker.max_opset and opset > worker.max_opset:
        found.append(("opset", f"at most {worker.max_opset}", str(opset)))
    if worker.operator_domains:  # an earlier release does not say
        unknown = report.opsets.keys() - set(worker.operator_domains)
        found += [("operator domain", f"one of {sorted(worker.operator_domains)}", repr(d)) for d in sorted(unknown)]
    return found
