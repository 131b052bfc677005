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
from serving.bundles.bundle import open_bundle
from serving.bundles.probe import run_samples
from serving.bundles.session import ModelSession
from serving.errors import ModelError
from serving.models.admission import Admission, MakeRoom, no_room
from serving.models.circuit import Tolerance
from serving.models.crashes import Crashes
from serving.models.lifecycle import State
from serving.models.loaded import LoadedModel
from serving.models.memory import ModelMemory
from serving.models.seen import seen
from serving.models.tried import Trials
from serving.models.verdicts import Verdicts
from serving.trust.configured import BundleCheck, accept_any_bundle

log = structlog.get_logger()


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
        self._admission = Admission(memory or ModelMemory(), sharers)
        self._trials = Trials(verdicts, trial_timeout_s, trial_memory_bytes, helper)
        self._cache = cache
        self._verdicts = verdicts
        self._worker = worker
        self._trusted = trusted
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
            size = self._admission.size(bundle, self._trials.private_bytes(digest, retrial, bundle, wanted))
            taken = self._admission.take(f"{model}/{announced.version}", size, wanted, make_room)
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
                loaded.seen = seen(bundle, session)
            # The bundle stays on the disk for as long as anybody has the session, in whatever way it is given up.
            weakref.finalize(session, hold.release)
            taken.there()
            session.when_freed(taken.give_back)
            if self._crashes is not None:
                self._crashes.watch(loaded, retrial)
            undo.pop_all()
        return loaded

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


def _once(act: Callable[[], None]) -> Callable[[], None]:
    """A damaged copy is found while verifying, and then verified again: the state is entered once."""
    pending = [act]
    return lambda: pending.pop()() if pending else None
