"""How much memory this machine has, or the container (control group) that we are in: the stricter of both."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

_FOR_MODELS = 0.8
"""The rest is for the processes themselves, trials, and the pages of files that are read all the time."""
_UNLIMITED = 1 << 60
"""Version 1 writes a number near 2^63 where there is no limit."""


@dataclass(frozen=True, slots=True)
class _Files:
    """Of one version of the interface. `cache`: the line of the statistics with pages that can be dropped at once."""

    limit: str
    usage: str
    cache: str


_V1 = _Files("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_V2 = _Files("memory.max", "memory.current", "inactive_file")


def total_bytes(root: Path = Path("/")) -> int:
    """Return the memory that there is. `root`: of the file system."""
    return min([psutil.virtual_memory().total, *(limit for _, _, limit in _limits(root))])


def default_budget(workers: int, root: Path = Path("/")) -> int:
    """Return the bytes that the models of each of a node's workers may take, where nobody says how many."""
    return int(total_bytes(root) * _FOR_MODELS) // workers


def free_bytes(root: Path = Path("/")) -> int:
    """Return what can be taken now without anything being pushed out: caches of files count as free."""
    found = [psutil.virtual_memory().available]
    for folder, files, limit in _limits(root):
        usage = _number(folder / files.usage)
        if usage is not None:
            found.append(max(0, limit - max(0, usage - _cached(folder, files))))
    return min(found)


def _limits(root: Path) -> Iterator[tuple[Path, _Files, int]]:
    """Every group with a limit that holds for this process: its own, and those above."""
    for folder, files in _groups(root):
        limit = _number(folder / files.limit)
        if limit is not None and limit < _UNLIMITED:
            yield folder, files, limit


def _groups(root: Path) -> Iterator[tuple[Path, _Files]]:
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return  # not Linux
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            mount, files = root / "sys/fs/cgroup", _V2
        elif "memory" in controllers.split(","):
            mount, files = root / "sys/fs/cgroup/memory", _V1
        else:
            continue
        folder = mount / path.strip("/")
        # In a container the path is often that of the host, of which only the mount's root can be seen.
        yield from ((above, files) for above in (folder, *folder.parents) if above.is_relative_to(mount))


def _cached(folder: Path, files: _Files) -> int:
    try:
        lines = (folder / "memory.stat").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{files.cache} ")), 0)


def _number(path: Path) -> int | None:
    """`max` is no number."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
