"""Looking at processes that a test started."""

import os
import re
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.end_to_end.installation import Node
from tests.end_to_end.waiting import wait_until

_WORKER = re.compile(r"(serving|nearline)-\d+").fullmatch


class WatchedNode(Node):
    """A node that can be killed."""

    def kill(self) -> None:
        """End its supervisor at once."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def wait(self) -> int:
        """Wait until its supervisor has ended; return the exit code."""
        assert self._process is not None
        return self._process.wait(240)


def children(pid: int) -> dict[str, int]:
    """The workers of a supervisor that run now, by the names that the system has for them."""
    found = {}
    for child in psutil.Process(pid).children(recursive=True):
        try:
            name = Path(f"/proc/{child.pid}/comm").read_text().strip()
            if _WORKER(name) and child.status() != psutil.STATUS_ZOMBIE:
                found[name] = child.pid
        except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
            continue
    return found


def wait_for_other(pid: int, worker: str, former: int) -> int:
    """Wait until another process runs as that worker; return its pid."""

    def look() -> int | None:
        now = children(pid).get(worker)
        return now if now != former else None

    return wait_until(look, f"another process as {worker}")


def wait_gone(pids: Iterable[int]) -> None:
    """Wait until none of them runs."""
    left = set(pids)
    wait_until(lambda: not any(running(pid) for pid in left), f"end of {sorted(left)}")


def running(pid: int) -> bool:
    """Whether it is there and not only waits for its parent to look."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@contextmanager
def killed_at_last(pids: Iterable[int]) -> Iterator[None]:
    """End what a failed test would leave behind."""
    try:
        yield
    finally:
        for pid in pids:
            if running(pid):
                os.kill(pid, signal.SIGKILL)
