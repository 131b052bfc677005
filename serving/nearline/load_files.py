"""Files of bulk loads on this node's disk: fetched once for all of its processes, each by a thread of its own."""

import threading
import time
from dataclasses import dataclass
from pathlib import Path

import structlog

from protos.digest import FileEntry
from protos.nearline.v1 import status_pb2
from protos.records import BulkLoad
from serving.artifacts.cache import BundleCache
from serving.errors import ModelError
from serving.models.loading import Backoff
from serving.telemetry.nearline import NearlineMetrics

log = structlog.get_logger()


@dataclass(slots=True)
class _Fetch:
    """`rejected`: whole, but not what it should be; it is not tried again."""

    path: Path | None = None
    running: bool = False
    rejected: bool = False
    attempts: int = 0
    again_at: float = 0.0


class LoadFiles:
    """`path` and `drop` from the near-line thread."""

    def __init__(self, cache: BundleCache, backoff: Backoff, metrics: NearlineMetrics) -> None:
        self._cache = cache
        self._backoff = backoff
        self._metrics = metrics
        self._fetches: dict[BulkLoad, _Fetch] = {}

    def path(self, model: str, load: BulkLoad) -> Path | None:
        """Return the verified file; None while it is not there, which begins to fetch it when that may help."""
        fetch = self._fetches.setdefault(load, _Fetch())
        if fetch.path is None and not fetch.running and not fetch.rejected and time.monotonic() >= fetch.again_at:
            fetch.running = True
            arguments = (model, load, fetch)
            threading.Thread(
                target=self._fetch, args=arguments, name=f"bulk {model}/{load.number}", daemon=True
            ).start()
        return fetch.path

    def reject(self, model: str, load: BulkLoad, error: str) -> None:
        """Tell that the file holds something that cannot be used; it is not tried again by this process."""
        fetch = self._fetches.setdefault(load, _Fetch())
        fetch.path, fetch.rejected = None, True
        self._metrics.bulk_failures.inc()
        log.error("bulk.rejected", model=model, load=load.number, error=error, action="never showing it")

    def postpone(self, model: str, load: BulkLoad, error: str) -> None:
        """Tell that it cannot be used just now; it is fetched, or found, again after a while."""
        fetch = self._fetches.setdefault(load, _Fetch())
        fetch.attempts += 1
        wait_s = self._backoff.after(fetch.attempts)
        fetch.path, fetch.again_at = None, time.monotonic() + wait_s
        self._metrics.bulk_failures.inc()
        log.warning("bulk.failed", model=model, load=load.number, error=error, again_in_s=round(wait_s, 1))

    def drop(self, load: BulkLoad) -> None:
        """Free the disk; a process that reads the file reads on."""
        self._fetches.pop(load, None)
        self._cache.remove(load.sha256)

    def _fetch(self, model: str, load: BulkLoad, fetch: _Fetch) -> None:
        folder, _, name = load.uri.rpartition("/")
        try:
            file = FileEntry(name, load.sha256, load.size)
            fetch.path = self._cache.ensure(load.sha256, folder, [file], verifying=lambda: None) / name
            log.info("bulk.fetched", model=model, load=load.number, bytes=load.size)
        except ModelError as error:
            said = f"{status_pb2.ErrorKind.Name(error.kind)}: {error}"
            (self.reject if error.rejected else self.postpone)(model, load, said)
        except Exception as error:
            log.exception("bulk.defect", model=model, load=load.number)
            self.postpone(model, load, repr(error))
        finally:
            fetch.running = False
