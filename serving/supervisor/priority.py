"""Giving way to other processes of a machine."""

import contextlib
import os
from pathlib import Path

_AUTOGROUP = Path("/proc/self/autogroup")


def give_way(nice: int) -> None:
    """Have this process, and what it starts, wait for others on a core that both need; 0 = not at all.

    Where the kernel shares cores among sessions first (sched(7), "The autogroup feature"), niceness counts within the
    session alone, and a worker has one of its own: there the session gives way.
    """
    os.nice(nice)
    with contextlib.suppress(OSError):  # not Linux, or without that feature
        _AUTOGROUP.write_text(str(nice))
