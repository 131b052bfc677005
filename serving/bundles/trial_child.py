"""The throw-away process of a trial: `python -m serving.bundles.trial_child FOLDER MEMORY_BYTES CPU_SECONDS`.

Checks the graph, loads it, runs its samples, and says on standard output how that went. Whatever a graph does to
this process, it does to nothing else.
"""

import json
import resource
import sys
import time
from pathlib import Path

from protos.nearline.v1 import status_pb2
from serving.bundles.bundle import open_bundle
from serving.bundles.check import check_graph
from serving.bundles.probe import check_signature, run_samples
from serving.bundles.session import ModelSession
from serving.errors import ModelError


def _limit(memory_bytes: int, cpu_s: int) -> None:
    for what, most in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CPU, cpu_s + 1),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 1 << 20),
    ):
        _, hard = resource.getrlimit(what)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)  # noqa: PLW2901 - the system's own limit holds
        # At the soft limit of processor time comes SIGXCPU, which tells why; at the hard one SIGKILL, which does not.
        resource.setrlimit(what, (min(cpu_s, most) if what == resource.RLIMIT_CPU else most, most))


def _try(folder: Path) -> None:
    bundle = open_bundle(folder)
    check_graph(folder)
    try:
        session = ModelSession.open(folder)
    except ModelError as error:
        raise _out_of_memory(error) or error from error
    check_signature(bundle, session)
    try:
        run_samples(bundle, session)
    except ModelError as error:
        raise _out_of_memory(error) or error from error


def _out_of_memory(error: ModelError) -> ModelError | None:
    """ONNX Runtime turns a failed allocation into an error of its own words."""
    words = f"{error} {error.detail}"
    if "bad_alloc" in words or "Failed to allocate memory" in words or "bad allocation" in words:
        return ModelError(status_pb2.RESOURCE, f"more memory than a trial may take: {error}", rejected=True)
    return None


def main() -> None:
    """Report as one line of JSON; exit code 0 whatever the outcome, unless this process dies."""
    folder, memory_bytes, cpu_s = sys.argv[1:]
    _limit(int(memory_bytes), int(cpu_s))
    began = time.perf_counter()
    try:
        _try(Path(folder))
    except ModelError as error:
        kind = status_pb2.ErrorKind.Name(error.kind)
        # The bundle is whole, its digest says so: what this runtime cannot load, it will not load later.
        rejected = error.rejected or error.kind == status_pb2.LOAD
        report = {"kind": kind, "message": str(error), "detail": error.detail, "rejected": rejected}
    except MemoryError:
        report = {"kind": "RESOURCE", "message": "more memory than a trial may take", "detail": "", "rejected": True}
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        report = {"seconds": time.perf_counter() - began, "peak_bytes": peak}
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()
