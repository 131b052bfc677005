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


def _limit(memory_bytes: int, cpu_s: int) -> list[str]:
    """Set what this system lets us set; return the names of the limits that it does not (macOS: the address space)."""
    unset = []
    for name, most in (
        ("RLIMIT_AS", memory_bytes),
        ("RLIMIT_CPU", cpu_s + 1),
        ("RLIMIT_CORE", 0),
        ("RLIMIT_FSIZE", 1 << 20),
    ):
        try:
            what = getattr(resource, name)
            _, hard = resource.getrlimit(what)
            allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)  # the system's own limit holds
            # At the soft limit of processor time comes SIGXCPU, which tells why; at the hard one comes SIGKILL.
            resource.setrlimit(what, (min(cpu_s, allowed) if name == "RLIMIT_CPU" else allowed, allowed))
        except (AttributeError, ValueError, OSError):
            unset.append(name)
    return unset


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
    unlimited = _limit(int(memory_bytes), int(cpu_s))
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
        unit = 1 if sys.platform == "darwin" else 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
        report = {"seconds": time.perf_counter() - began, "peak_bytes": peak}
    sys.stdout.write(json.dumps({**report, "unlimited": unlimited}) + "\n")


if __name__ == "__main__":
    main()
