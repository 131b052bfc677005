"""What a node has learnt of digests: which passed their trial, and which are not to be tried again.

One trial a node and digest, shared by its workers through files. A digest is quarantined with the retrial epoch
under which it was refused; a retrial of a higher epoch in the ledger lifts that without deleting anything.
"""

import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import structlog

from protos.nearline.v1 import status_pb2
from serving.artifacts.alone import alone
from serving.errors import ModelError

log = structlog.get_logger()

_DEATHS = 2
"""While loading, in a row."""
_RUN_DEATHS, _WITHIN_S = 3, 3600.0
"""While running."""


class Verdicts:
    """Files under `folder`: `<digest>.json`, `<digest>.deaths`, and `<digest>@<worker>` while that worker loads it.

    `runtime`: version of the runtime that judges; what another one said is judged anew.
    """

    def __init__(self, folder: Path, runtime: str = "") -> None:
        self._folder = folder
        self._runtime = runtime
        self._marking = threading.Lock()
        self._loading = Counter[Path]()

    def lock(self, digest: str) -> AbstractContextManager[None]:
        """Hold this while trying a digest, so that the node's other workers wait for the outcome."""
        self._folder.mkdir(parents=True, exist_ok=True)
        return alone(self._folder / f"{digest}.lock")

    def passed(self, digest: str, epoch: int) -> int | None:
        """Return the private bytes that it took in its trial; None: it has to be tried.

        Raises the ModelError of a refusal that still holds.
        """
        try:
            verdict = json.loads((self._folder / f"{digest}.json").read_text())
            if verdict.get("runtime") != self._runtime:
                return None
            if verdict.get("passed"):
                return int(verdict["private_bytes"])  # an earlier release did not tell
            refused = status_pb2.ErrorKind.Value(verdict["kind"]), verdict["message"], verdict["epoch"]
        except (OSError, ValueError, KeyError, AttributeError):
            return None  # none, or a damaged one: the trial will tell
        if epoch > refused[2]:
            return None
        raise ModelError(refused[0], refused[1], detail=verdict.get("detail", ""), rejected=True)

    def record_pass(self, digest: str, private_bytes: int) -> None:
        """Remember that the trial was passed, and what it took."""
        self._write(digest, {"passed": True, "private_bytes": private_bytes})

    def record_refusal(self, digest: str, epoch: int, error: ModelError) -> None:
        """Remember that this digest is not to be tried again under this retrial epoch."""
        kind = status_pb2.ErrorKind.Name(error.kind)
        self._write(digest, {"epoch": epoch, "kind": kind, "message": str(error), "detail": error.detail})

    @contextmanager
    def attempt(self, digest: str, worker: str, epoch: int) -> Iterator[None]:
        """Leave a mark while loading: a process that dies meanwhile finds it when it comes back.

        One for all models of a digest that this process loads at once: it dies once. Without room on the disk there is
        none, which is no reason not to load.
        """
        mark = self._folder / f"{digest}@{worker}"
        with self._marking:
            self._loading[mark] += 1
            if self._loading[mark] == 1:
                self._mark(mark, epoch)
        try:
            yield
        finally:
            with self._marking:
                self._loading[mark] -= 1
                if not self._loading[mark]:
                    del self._loading[mark]
                    with suppress(OSError):
                        mark.unlink(missing_ok=True)

    def _mark(self, mark: Path, epoch: int) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            mark.write_text(f"{epoch} {_read_mark(mark)[1] + 1}")
        except OSError as error:
            log.error("attempt.unwritable", mark=mark.name, error=str(error))

    def recover(self, worker: str) -> list[str]:
        """Quarantine what this worker died of twice in a row; return those digests.

        Once proves nothing: a machine may lose power, or somebody kills the process, just then.
        """
        found = []
        for mark in self._folder.glob(f"*@{worker}"):
            digest = mark.name.partition("@")[0]
            epoch, deaths = _read_mark(mark)
            if deaths < _DEATHS:
                continue
            error = ModelError(
                status_pb2.CRASH, f"loading it ended the process of {worker} {deaths} times in a row", rejected=True
            )
            try:
                self.record_refusal(digest, epoch, error)
                mark.unlink(missing_ok=True)
            except OSError as unwritable:
                log.error("verdict.unwritable", digest=digest, error=str(unwritable))
                continue
            found.append(digest)
        return found

    def died(self, digest: str, epoch: int, whose: str) -> bool:
        """Count the crash of a process that ran a digest, and quarantine that when it is too many; tell whether it was.

        `whose`: which process, and how. OSError when the disk has no room.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        now = time.time()
        file = self._folder / f"{digest}.deaths"
        with file.open("a") as deaths:  # a line is appended whole, whoever else does so
            deaths.write(f"{epoch} {now:.0f}\n")
        count = sum(_counts(line, epoch, now) for line in file.read_text().splitlines())
        if count < _RUN_DEATHS:
            return False
        message = f"running it ended processes of this node {count} times within {_WITHIN_S / 60:.0f} min, last {whose}"
        self.record_refusal(digest, epoch, ModelError(status_pb2.CRASH, message, rejected=True))
        return True

    def changed_ns(self) -> int:
        """When a verdict was last written, by the wall clock; 0 = never. Other files count, too."""
        try:
            return self._folder.stat().st_mtime_ns
        except OSError:
            return 0

    def _write(self, digest: str, verdict: dict[str, object]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        # A name of its own: two workers may break on one digest at once, and neither holds the lock then.
        part = self._folder / f"{digest}.json.part-{uuid.uuid4().hex}"
        try:
            part.write_text(json.dumps({**verdict, "runtime": self._runtime}))
            part.replace(self._folder / f"{digest}.json")
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)


def _counts(line: str, epoch: int, now: float) -> bool:
    """Tell whether a death counts: of that epoch, and not long ago."""
    try:
        of, at = line.split()
        return int(of) == epoch and now - float(at) < _WITHIN_S
    except ValueError:
        return False


def _read_mark(mark: Path) -> tuple[int, int]:
    """Epoch and count of attempts that did not return."""
    try:
        epoch, deaths = mark.read_text().split()
        return int(epoch), int(deaths)
    except (OSError, ValueError):
        return 0, 0
