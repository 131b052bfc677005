"""Confines this process, for good: whatever a graph makes of it, it can compute, read its bundle, and say how it went.

Everything that it needs must be imported before. docs/security.md says what applies where.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path

from serving.bundles.confinement.kernel import no_new_privileges
from serving.bundles.confinement.landlock import only_read
from serving.bundles.confinement.limits import limit
from serving.bundles.confinement.seccomp import no_sockets_and_processes

FILES, NETWORK = "files", "network and processes"
_FIRST_TO_GO = "1000"


def confine(folder: Path, memory_bytes: int, cpu_s: int) -> list[str]:
    """Keep reading of `folder`, and the files that are open; return what this system cannot take away."""
    missing = []
    if sys.platform != "linux":
        missing += [FILES, NETWORK]
    else:
        _offer_to_be_killed()
        no_new_privileges()
        steps: dict[str, Callable[[], None]] = {FILES: lambda: only_read([folder]), NETWORK: no_sockets_and_processes}
        for what, give_up in steps.items():
            try:
                give_up()
            except OSError:
                missing.append(what)
    return missing + limit(memory_bytes, cpu_s)


def _offer_to_be_killed() -> None:
    """When the machine is out of memory, this process goes before any that serves."""
    try:
        file = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
    except OSError:
        return
    try:
        os.write(file, _FIRST_TO_GO.encode())
    except OSError:
        pass
    finally:
        os.close(file)
