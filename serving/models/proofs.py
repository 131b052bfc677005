"""Which bundles this node has had READY: what a rollback may go back to, after restarts and failures, too.

Kept on disk, a file for each digest, since the last word on an instance may be anything else by then.
"""

import os
import threading
from contextlib import suppress
from pathlib import Path

import structlog

log = structlog.get_logger()


class Proofs:
    """Files `<digest>.ready` under `folder`, shared by the node's workers; each holds when it was first READY."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, int] = {}
        self._lock = threading.Lock()

    def ready_at_ms(self, digest: str) -> int:
        """When some worker of this node first had it READY, by the node's clock; 0 = never."""
        with self._lock:
            if digest not in self._known and (stored := self._read(digest)):
                self._known[digest] = stored
            return self._known.get(digest, 0)

    def record(self, digest: str, at_ms: int) -> None:
        """Remember that it is READY, unless that is known. Without room on disk it holds until the process ends."""
        if self.ready_at_ms(digest):
            return
        with self._lock:
            self._known[digest] = at_ms
        part = self._folder / f"{digest}.ready.part-{os.getpid()}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            part.write_text(str(at_ms))
            part.replace(self._folder / f"{digest}.ready")
        except OSError as error:
            log.error("proof.unwritable", digest=digest, error=str(error))
            with suppress(OSError):
                part.unlink(missing_ok=True)

    def _read(self, digest: str) -> int:
        try:
            return max(0, int((self._folder / f"{digest}.ready").read_text()))
        except (OSError, ValueError):
            return 0
