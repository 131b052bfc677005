"""Keeps the bundles on a node's disk within a budget: removes what no process uses, the least recently used first.

Each model's two most recently used bundles go last of all, so that the way back needs no download. What is in use
stays, whatever the budget. Nothing here waits: a bundle that somebody is just fetching is passed over.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog
from filelock import FileLock, Timeout

from protos.names import InvalidNameError, check_digest
from serving.artifacts.holds import Claim, hold_path

log = structlog.get_logger()

_KEPT = 2


@dataclass(frozen=True, slots=True)
class _Local:
    digest: str
    size: int
    model: str
    used: float


def reclaim(folder: Path, budget: int, remove: Callable[[str], None]) -> list[str]:
    """Remove bundles under `folder` until `budget` bytes hold the rest; return their digests. OSError.

    `remove` is called under the bundle's lock and a claim on it.
    """
    removed: list[str] = []
    try:
        with FileLock(folder / "reclaim.lock", timeout=0):
            found = _in_order(_locals(folder))
            total = sum(local.size for local in found)
            for local in found:
                if total <= budget:
                    return removed
                if _remove_unused(folder, local.digest, remove):
                    total -= local.size
                    removed.append(local.digest)
                    log.info("bundle.reclaimed", digest=local.digest, model=local.model, bytes=local.size)
            if total > budget:
                log.warning("bundles.over_budget", bytes=total, budget=budget, reason="all of them are in use")
    except Timeout:
        pass  # another process is at it
    return removed


def _remove_unused(folder: Path, digest: str, remove: Callable[[str], None]) -> bool:
    try:
        with FileLock(folder / f"{digest}.lock", timeout=0), Claim(hold_path(folder, digest)) as claim:
            if claim.taken:
                remove(digest)
            return claim.taken
    except Timeout:
        return False


def _in_order(found: list[_Local]) -> list[_Local]:
    """What may go first comes first."""
    newer: Counter[str] = Counter()
    kept: set[str] = set()
    for local in sorted(found, key=lambda local: local.used, reverse=True):
        if local.model and newer[local.model] < _KEPT:
            kept.add(local.digest)
        newer[local.model] += 1
    return sorted(found, key=lambda local: (local.digest in kept, local.used))


def _locals(folder: Path) -> list[_Local]:
    found = []
    for path in folder.iterdir():
        try:
            check_digest(path.name)
            size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        except (InvalidNameError, FileNotFoundError):  # none of ours, or it is being replaced
            continue
        use = hold_path(folder, path.name)
        try:
            model, used = use.read_text(encoding="utf-8", errors="replace"), use.stat().st_mtime
        except FileNotFoundError:
            model, used = "", 0.0  # of a release that left none
        found.append(_Local(path.name, size, model, used))
    return found
