"""Which model a process died of while it ran it, so that it does not die of it again and again.

A crash is delivered to the thread that it happens in: the interpreter's own handler writes down which that was, and
that thread had marked what it ran. The process that comes back reads both. One that was killed left nothing.
"""

import faulthandler
import re
import time
from pathlib import Path
from threading import Lock
from typing import TextIO
from weakref import WeakKeyDictionary

import structlog

from protos.nearline.v1 import status_pb2
from serving.errors import ModelError
from serving.models.loaded import LoadedModel
from serving.models.running import Ran, Running, ran_by
from serving.models.verdicts import Verdicts

log = structlog.get_logger()

_HOW = re.compile(r"^Fatal Python error: (.+)$", re.MULTILINE)
_THREAD = re.compile(r"^Current thread 0x([0-9a-f]+)", re.MULTILINE)
_REPORT = 4000
"""Characters of it that are logged."""
_TICK_NS = 1_000_000_000
"""Changes of a folder within so long may have the same time."""


class Crashes:
    """Of one worker. `begin` before any model runs; `look` every now and then. `watch`: any thread."""

    def __init__(self, folder: Path, worker: str, verdicts: Verdicts) -> None:
        self._running_file = folder / f"{worker}.running"
        self._report_file = folder / f"{worker}.crash"
        self._worker = worker
        self._verdicts = verdicts
        self._running: Running | None = None
        self._report: TextIO | None = None
        self._watched = WeakKeyDictionary[LoadedModel, int]()
        self._lock = Lock()
        self._looked_ns = 0

    def begin(self) -> None:
        """Find out what the last process of this name died of, and let this one leave as much behind.

        Where the disk has no room for that, nothing is known afterwards.
        """
        try:
            self._recover()
            self._report_file.parent.mkdir(parents=True, exist_ok=True)
            self._running = Running(self._running_file)
            self._report = self._report_file.open("w")
            faulthandler.enable(self._report)
        except OSError as error:
            log.error("crashes.unwritable", error=str(error))

    def watch(self, loaded: LoadedModel, epoch: int) -> None:
        """Mark the runs of a version, loaded under this retrial epoch, and take it away once it is quarantined."""
        if self._running is not None:
            loaded.session.marked_by(self._running.mark(Ran(loaded.digest, epoch)))
        with self._lock:
            self._watched[loaded] = epoch
            self._looked_ns = 0  # what was said while it was being loaded is of it, too

    def look(self) -> None:
        """Take away what others of this node have died of: this process need not, too."""
        changed_ns = self._verdicts.changed_ns()
        if changed_ns == self._looked_ns:
            return
        if time.time_ns() - changed_ns > _TICK_NS:
            self._looked_ns = changed_ns
        with self._lock:
            watched = list(self._watched.items())
        for loaded, epoch in watched:
            try:
                self._verdicts.passed(loaded.digest, epoch)
            except ModelError as error:
                if error.kind == status_pb2.CRASH:
                    loaded.circuit.trip(error)

    def _recover(self) -> None:
        try:
            report = self._report_file.read_text(errors="replace")
        except FileNotFoundError:
            return
        how, thread = _HOW.search(report), _THREAD.search(report)
        if how is None:
            return
        ran = ran_by(self._running_file, int(thread[1], 16)) if thread else None
        log.error("worker.crashed", how=how[1], digest=ran.digest if ran else None, report=report[:_REPORT])
        if ran is not None and self._verdicts.died(ran.digest, ran.epoch, f"{self._worker} ({how[1]})"):
            log.error("bundle.quarantined", digest=ran.digest, reason="running it ended workers again and again")
