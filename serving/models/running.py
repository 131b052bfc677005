"""What each thread of a process runs just now, in a file that it maps: still there when the process has died."""

import mmap
import threading
from pathlib import Path
from typing import NamedTuple

_SLOT, _SLOTS = 64, 1024
"""A thread's bytes: its identity (8), the epoch of the retrial (8), the digest (32): 0 while it runs nothing."""
_IDENTITY, _WHAT = 8, 40
_NOTHING = bytes(_WHAT)


class Ran(NamedTuple):
    """A bundle, and the retrial epoch that it was loaded under."""

    digest: str
    epoch: int


class Running:
    """Of this process; any thread. What is marked costs two writes to memory, and no system call.

    Threads beyond the 1,023rd are not told apart, and so nothing is known of them.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._places: dict[int, int] = {}
        with path.open("w+b") as file:
            file.write(bytes(_SLOT * _SLOTS))  # all of it: a hole that a full disk cannot fill would end the process
            file.flush()
            self._memory = mmap.mmap(file.fileno(), _SLOT * _SLOTS)

    def mark(self, ran: Ran) -> "RunMark":
        """Return what is to be entered for a run."""
        return RunMark(self, ran.epoch.to_bytes(8, "little") + bytes.fromhex(ran.digest))

    def write(self, what: bytes) -> None:
        """Say what the calling thread runs."""
        identity = threading.get_ident()
        place = self._places.get(identity)
        if place is None:
            place = self._new_place(identity)
        self._memory[place : place + _WHAT] = what

    def _new_place(self, identity: int) -> int:
        with self._lock:
            at = min(len(self._places), _SLOTS - 1) * _SLOT
            if at < (_SLOTS - 1) * _SLOT:
                self._memory[at : at + _IDENTITY] = identity.to_bytes(8, "little")
            place = self._places[identity] = at + _IDENTITY
        return place


class RunMark:
    """A context: what one version's runs leave in the file while they last."""

    __slots__ = ("_running", "_what")

    def __init__(self, running: Running, what: bytes) -> None:
        self._running = running
        self._what = what

    def __enter__(self) -> None:
        self._running.write(self._what)

    def __exit__(self, *_: object) -> None:
        self._running.write(_NOTHING)


def ran_by(path: Path, identity: int) -> Ran | None:
    """What a thread of a process that is no more ran at its end; None for nothing."""
    try:
        memory = path.read_bytes()
    except OSError:
        return None
    for at in range(0, len(memory) - _SLOT, _SLOT):
        if int.from_bytes(memory[at : at + _IDENTITY], "little") == identity:
            what = memory[at + _IDENTITY : at + _IDENTITY + _WHAT]
            return None if what == _NOTHING else Ran(what[8:].hex(), int.from_bytes(what[:8], "little"))
    return None
