"""From an announcement to a model in memory: fetch, verify, try, load, warm up. Blocking; one thread per load.

Every step is reported before it begins, and asks first whether the load is still wanted.
"""

import socket
import threading
import weakref
from collections.abc import Callable
from contextlib import ExitStack

import structlog

from protos.records import Announced
from serving.artifacts.cache import BundleCache
from serving.bundles.budgets import check_budgets
from serving.bundles.bundle import WEIGHTS, Bundle, open_bundle
from serving.bundles.probe import run_samples
from serving.bundles.session import ModelSession
from serving.bundles.trial import TrialAbandonedError, try_bundle
from serving.errors import ModelError
from serving.models.circuit import Tolerance
from serving.models.crashes import Crashes
from serving.models.lifecycle import State
from serving.models.loaded import LoadedModel
from serving.models.memory import ModelMemory, NoRoomError, Taken
from serving.models.verdicts import Verdicts
from serving.trust.configured import BundleCheck, accept_any_bundle

log = structlog.get_logger()

_ROOM_S = 60.0
"""Waiting for others to be unloaded: requests that run on them have to end first."""

MakeRoom = Callable[[int], bool]
"""Asks for so many bytes more; tells whether they are being given back."""


def no_room(_short_bytes: int) -> bool:
    """Nothing is unloaded for another."""
    return False


class NotWantedError(Exception):
    """A newer decision made this load pointless."""


class Loader:
    """Loads bundles for one worker; the cache and the verdicts are shared with the node's other workers.

    `memory`: that its models share. `sharers`: processes of the node, which have one copy of external weights.
    `crashes`: is told of what is loaded, before that runs.
    """

    def __init__(
        self,
        cache: BundleCache,
        verdicts: Verdicts,
        worker: str,
        *,
        trial_timeout_s: float,
        trial_memory_bytes: int,
        helper: socket.socket | None = None,
        tolerance: Tolerance = Tolerance(),  # noqa: B008 - frozen
        trusted: BundleCheck = accept_any_bundle,
        memory: ModelMemory | None = None,
        sharers: int = 1,
        crashes: Crashes | None = None,
    ) -> None:
        self._crashes = crashes
        self._memory = memory or ModelMemory()
        self._sharers = sharers
        self._cache = cache
        self._verdicts = verdicts
        self._worker = worker
        self._trusted = trusted
        self._trial_timeout_s = trial_timeout_s
        self._trial_memory_bytes = trial_memory_bytes
        self._helper = helper
        self._tolerance = tolerance
        self._recovering = threading.Lock()
        self._recovered = False

    def load(
        self,
        model: str,
        announced: Announced,
        retrial: int,
        enter: Callable[[State], None],
        wanted: Callable[[], bool],
        make_room: MakeRoom = no_room,
    ) -> LoadedModel:
        """Return the model in memory, or raise ModelError.

        `enter` is called on entering each state and raises NotWantedError when the load is pointless by now, as
        `wanted` tells in between. `make_room` is asked when there is no memory for it.
        """
        digest = announced.digest
        enter(State.FETCHING)
        self._recover()
        self._verdicts.passed(digest, retrial)  # raises: a refused digest is not worth a download
        with ExitStack() as undo:
            hold = self._cache.hold(digest, model)
            undo.callback(hold.release)
            folder = self._cache.ensure(
                digest, announced.uri, announced.files, verifying=_once(lambda: enter(State.VERIFYING))
            )
            self._trusted(model, announced)  # before anything parses a byte of it
            bundle = open_bundle(folder)
            size = self._size(bundle, self._try(digest, retrial, bundle, wanted))
            taken = self._take(f"{model}/{announced.version}", size, wanted, make_room)
            undo.callback(taken.give_back)
            with self._verdicts.attempt(digest, self._worker, retrial):
                enter(State.LOADING)
                session = ModelSession.open(folder)
                undo.callback(session.close)
                loaded = LoadedModel.of(model, announced.version, digest, bundle, session, self._tolerance)
                loaded.memory_bytes = size
                enter(State.WARMING)
                # First runs allocate, and must not meet a request.
                run_samples(bundle, session)
            # The bundle stays on the disk for as long as anybody has the session, in whatever way it is given up.
            weakref.finalize(session, hold.release)
            taken.there()
            session.when_freed(taken.give_back)
            if self._crashes is not None:
                self._crashes.watch(loaded, retrial)
            undo.pop_all()
        return loaded

    def _size(self, bundle: Bundle, private_bytes: int) -> int:
        """What it counts for: its own memory, and of external weights, which are there once a node, an equal part.

        Where a system does not tell what a trial took, its own memory is at least what is in its files.
        """
        sizes = {file.name: file.stat().st_size for file in bundle.folder.iterdir()}
        shared = sizes.pop(WEIGHTS, 0)
        return max(private_bytes, sum(sizes.values())) + -(-shared // self._sharers)

    def _take(self, what: str, size: int, wanted: Callable[[], bool], make_room: MakeRoom) -> Taken:
        try:
            return self._memory.take(what, size)
        except NoRoomError as error:
            if error.rejected:
                raise
            if not make_room(error.short_bytes):
                return self._memory.take(what, size)  # something may have been unloaded since
        taken = self._memory.take_soon(what, size, _ROOM_S, wanted)
        if taken is None:
            raise NotWantedError
        return taken

    def check_trusted(self, model: str, announced: Announced) -> None:
        """Raise ModelError when a bundle that is loaded would not be loaded now, as others are trusted."""
        self._trusted(model, announced)

    def refuse(self, digest: str, retrial: int, error: ModelError) -> None:
        """Remember, beyond the end of this process, that a bundle that was READY is not to be loaded again.

        Without room on disk that holds until the process ends.
        """
        try:
            self._verdicts.record_refusal(digest, retrial, error)
        except OSError as unwritable:
            log.error("verdict.unwritable", digest=digest, error=str(unwritable))

    def _recover(self) -> None:
        """Look once, before any load of this process leaves a mark of its own, what the last process died of."""
        with self._recovering:
            if not self._recovered:
                for digest in self._verdicts.recover(self._worker):
                    log.error("bundle.quarantined", digest=digest, reason="loading it ended this worker's process")
                self._recovered = True

    def _try(self, digest: str, retrial: int, bundle: Bundle, wanted: Callable[[], bool]) -> int:
        """Return the private bytes that it takes."""
        with self._verdicts.lock(digest):
            if (known := self._verdicts.passed(digest, retrial)) is not None:
                return known
            limits = bundle.manifest.limits
            bounds = limits.trial(self._trial_timeout_s, self._trial_memory_bytes)
            try:
                report = try_bundle(
                    bundle.folder, *bounds, wanted, batches=tuple(limits.latency_ms), helper=self._helper
                )
                check_budgets(report, limits)
            except TrialAbandonedError:
                raise NotWantedError from None
            except ModelError as error:
                if error.rejected:
                    self._verdicts.record_refusal(digest, retrial, error)
                raise
            self._verdicts.record_pass(digest, report.private_bytes)
            return report.private_bytes


def _once(act: Callable[[], None]) -> Callable[[], None]:
    """A damaged copy is found while verifying, and then verified again: the state is entered once."""
    pending = [act]
    return lambda: pending.pop()() if pending else None
