"""Doing: one thread that owns every model instance of a worker and carries out what policy.py decides.

News comes in as messages (mailbox.py): the ledger changed, a load moved on or ended (arrivals.py), the last lease ended
(departures.py), other keys are trusted (trusting.py). Each is followed by deciding anew for the model that it is about
(converging.py). Loads run in threads of their own, one per version, so that a slow or bad model never delays another.
"""

import threading
import time
from collections.abc import Mapping
from functools import partial

from protos.records import ModelRecord
from serving.models.arrivals import Arrivals
from serving.models.bulk import Imported
from serving.models.converging import Converging, Filled
from serving.models.departures import Departures
from serving.models.instance import Identity
from serving.models.instances import Instances
from serving.models.loader import Loader
from serving.models.loading import Backoff
from serving.models.mailbox import Mailbox
from serving.models.policy import Audiences
from serving.models.roster import Report, Roster
from serving.models.table import ActiveTable
from serving.models.trusting import Trusting


class Deployer:
    """Makes the active table follow the ledger. `start`, `stop`; everything else is a message to its thread.

    `unload_first`: what a version replaces is unloaded before it is loaded, where there is no memory for both.
    """

    def __init__(
        self,
        identity: Identity,
        audiences: Audiences,
        loader: Loader,
        table: ActiveTable,
        report: Report,
        backoff: Backoff,
        filled: Filled,
        imported: Imported,
        *,
        unload_first: bool = False,
    ) -> None:
        self._messages = Mailbox("deployer")
        self._roster = Roster(identity, report, self._messages.put, self._decide)
        self._trusting = Trusting(self._roster, loader)
        departures = Departures(self._roster, loader, self._trusting)
        arrivals = Arrivals(
            self._roster, loader, backoff, audiences, departures, self._trusting, unload_first=unload_first
        )
        self._converging = Converging(self._roster, table, audiences, filled, imported, arrivals, departures)
        self._settled = threading.Event()

    def start(self) -> None:
        """Start the thread."""
        self._messages.start(self._roster.next_retry, self._decide_all)

    def stop(self) -> None:
        """Stop deciding; loads that run are abandoned, what serves stays in the table."""
        self._messages.stop()

    def follow(self, changed: Mapping[str, ModelRecord], announced: Mapping[str, list[int]]) -> None:
        """Take over records that changed, and the versions announced since the last call.

        The records must not change any more: pass copies.
        """
        self._messages.put(lambda: self._follow(changed, announced))

    def refilled(self, name: str) -> None:
        """Tell that the model may have got the predictions that it was waiting for: of a version, or of a bulk load."""
        self._messages.put(lambda: self._decide(name) if name in self._roster.models else None)

    def trust_changed(self) -> None:
        """Tell that other keys are trusted: signatures of bundles are judged anew, of loaded and of refused ones."""
        self._messages.put(self._trusting.changed)

    def backfilled(self, model: str, version: int, total: int, left: int) -> None:
        """Tell how many active entities this worker computes a version for, and how many of them are left."""
        self._messages.put(lambda: self._backfilled(model, version, total, left))

    def caught_up(self) -> None:
        """Tell that the ledger was read to its end: from when all wanted loads have ended, `wait_settled` returns."""
        self._messages.put(self._settled.set)

    def wait_settled(self, timeout_s: float) -> bool:
        """Wait until the ledger was read to its end once and what it wants has been loaded, or has failed."""
        deadline = time.monotonic() + timeout_s
        if not self._settled.wait(timeout_s):
            return False
        done = threading.Event()
        while not done.is_set() and time.monotonic() < deadline:
            self._messages.put(lambda: None if self._roster.working() else done.set())
            done.wait(0.02)
        return done.is_set()

    def _follow(self, changed: Mapping[str, ModelRecord], announced: Mapping[str, list[int]]) -> None:
        for name, record in changed.items():
            self._roster.models.setdefault(name, Instances()).record = record
            self._decide(name)
            for version in announced.get(name, ()):
                self._converging.supersede_unwanted(name, version)

    def _decide(self, name: str) -> None:
        self._converging.decide(name)

    def _decide_all(self) -> None:
        for name in self._roster.models:
            self._messages.put(partial(self._decide, name))  # each by itself: a defect in one is not that of the others

    def _backfilled(self, model: str, version: int, total: int, left: int) -> None:
        instance = self._roster.find(model, version)
        if instance is not None:
            instance.backfill = (total, left)
            self._roster.tell_progress(instance)
