"""Doing: one thread that owns every model instance of a worker and carries out what policy.py decides.

News comes in as messages (the ledger changed, a load moved on or ended, the last lease ended); each is followed by
deciding anew for the model that it is about. Loads run in threads of their own, one per version, so that a slow or
bad model never delays another. A load that ends behind a newer decision is discarded by its generation.
"""

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import structlog

from protos.nearline.v1 import status_pb2
from protos.records import Announced, BulkLoad, ModelRecord, Share
from serving.errors import ModelError
from serving.models.bulk import Imported, seen_load
from serving.models.instance import Identity, Instance, log_state
from serving.models.instances import Instances
from serving.models.lifecycle import WORKING, State
from serving.models.loaded import LoadedModel
from serving.models.loader import Loader
from serving.models.loading import Backoff, check_in_background, load_in_background
from serving.models.policy import Audience, Serving, decide, loaded_ahead
from serving.models.table import ActiveModel, ActiveTable, LedgerSide

log = structlog.get_logger()

Report = Callable[[status_pb2.InstanceStatus, bool], None]
"""The status, and whether its state was just entered."""

Filled = Callable[[tuple[Share, ...], Mapping[int, LoadedModel]], bool]
Audiences = Callable[[ModelRecord], Sequence[Audience]]
"""Whose traffic this worker is for; the first one is what the active table serves."""

Message = Callable[[], None]


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
        self._unload_first = unload_first
        self._identity = identity
        self._audiences = audiences
        self._loader = loader
        self._table = table
        self._report = report
        self._backoff = backoff
        self._filled = filled
        self._imported = imported
        self._models: dict[str, Instances] = {}
        self._messages: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._generation = 0
        self._trust_epoch = 0
        """Counts changes of trusted keys."""
        self._leaving_bytes = 0
        """Of what is being unloaded."""
        self._thread = threading.Thread(target=self._run, name="deployer", daemon=True)
        self._settled = threading.Event()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop deciding; loads that run are abandoned, what serves stays in the table."""
        self._messages.put(None)
        self._thread.join(timeout=10)

    def follow(self, changed: Mapping[str, ModelRecord], announced: Mapping[str, list[int]]) -> None:
        """Take over records that changed, and the versions announced since the last call.

        The records must not change any more: pass copies.
        """
        self._messages.put(lambda: self._follow(changed, announced))

    def refilled(self, name: str) -> None:
        """Tell that the model may have got the predictions that it was waiting for: of a version, or of a bulk load."""
        self._messages.put(lambda: self._decide(name) if name in self._models else None)

    def broke(self, loaded: LoadedModel, error: ModelError) -> None:
        """Tell that a version has failed again and again while it ran: it serves only until another one can."""
        self._messages.put(lambda: self._broke(loaded, error))

    def trust_changed(self) -> None:
        """Tell that other keys are trusted: signatures of bundles are judged anew, of loaded and of refused ones."""
        self._messages.put(self._trust_changed)

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
            self._messages.put(lambda: None if self._working() else done.set())
            done.wait(0.02)
        return done.is_set()

    def _working(self) -> bool:
        return any(i.state in WORKING for model in self._models.values() for i in model.by_version.values())

    def _run(self) -> None:
        while True:
            try:
                message = self._messages.get(timeout=self._next_retry())
            except queue.Empty:
                for name in list(self._models):
                    self._decide(name)
                continue
            if message is None:
                return
            try:
                message()
            except Exception:
                # The thread must outlive a defect in handling one model: the others still have to be served.
                log.exception("deployer.defect")

    def _next_retry(self) -> float | None:
        due = [i.retry_at for m in self._models.values() for i in m.by_version.values() if i.retry_at is not None]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _follow(self, changed: Mapping[str, ModelRecord], announced: Mapping[str, list[int]]) -> None:
        for name, record in changed.items():
            self._models.setdefault(name, Instances()).record = record
            self._decide(name)
            for version in announced.get(name, ()):
                self._supersede_unwanted(name, version)

    def _supersede_unwanted(self, name: str, version: int) -> None:
        model = self._models[name]
        if version not in model.by_version:
            instance = model.by_version[version] = Instance(name, model.record.versions[version])
            why = model.why_unwanted(version, self._audiences(model.record))
            self._enter(instance, State.SUPERSEDED, reason=why)

    def _decide(self, name: str) -> None:
        model = self._models[name]
        now = time.monotonic()
        seen = model.seen(now)
        active = self._table.current.get(name)
        audiences = self._audiences(model.record)
        ready = model.loaded()
        plan = decide(model.record, audiences, seen, model.serving, lambda shares: self._filled(shares, ready))
        for version, why in plan.give_up.items():
            self._enter(model.by_version[version], State.SUPERSEDED, reason=why)
        for version, instance in model.by_version.items():
            if instance.retry_at is not None and version not in plan.load and instance.retry_at <= now:
                instance.retry_at = None  # not wanted any more
        for version in plan.unload:
            self._enter(model.by_version[version], State.DRAINING, reason=model.why_unloaded(version, seen))
        side = LedgerSide(model.record.blocked, model.record.loads, model.record.shown)
        bulk = seen_load(
            side.loads, side.shown, active.bulk if active else None, lambda load: self._imported(name, load)
        )
        if active is None or plan.serving != model.serving or (side, bulk) != (active.ledger, active.bulk):
            model.serving = plan.serving
            self._swap(name, model, [plan.serving[who] for who in audiences], side, bulk)
        for version in plan.unload:
            self._drain(model.by_version[version])
        for version in plan.load:
            self._load(name, model, model.record.versions[version])
        self._tell_held(model)

    def _tell_held(self, model: Instances) -> None:
        """Say of what was loaded ahead that it serves now, or of what is READY that it is loaded ahead."""
        ahead = loaded_ahead(model.record, self._audiences(model.record))
        for version, instance in model.by_version.items():
            if instance.held != (version == ahead):
                instance.held = version == ahead
                if instance.state is State.READY and instance.announced.held:
                    self._report(instance.status(self._identity), False)

    def _swap(
        self, name: str, model: Instances, serving: Sequence[Serving], side: LedgerSide, bulk: BulkLoad | None
    ) -> None:
        own, *others = serving
        elsewhere = tuple(shares for other in others for shares in (other.infer, other.recommend) if shares)
        named = {share.version for shares in (own.infer, own.recommend, *elsewhere) for share in shares}
        versions = {v: loaded for v in sorted(named) if (loaded := model.by_version[v].loaded)}
        self._table.swap(ActiveModel(name, own.infer, own.recommend, versions, elsewhere, side, bulk))
        said = {"infer": _parts(own.infer), "recommend": _parts(own.recommend), "blocked": len(side.blocked)}
        log.info("model.swap", model=name, **said, load=bulk.number if bulk else 0)

    def _load(self, name: str, model: Instances, announced: Announced) -> None:
        self._generation += 1
        generation, epoch = self._generation, self._trust_epoch
        instance = model.announced(name, announced)
        retrial = model.record.retrials.get(announced.version, 0)
        instance.attempts = instance.attempts + 1 if retrial == instance.retrial else 1
        instance.generation, instance.retrial, instance.retry_at = generation, retrial, None
        instance.alone = instance.distrusted = False
        self._tell(instance)

        load_in_background(
            self._loader,
            name,
            announced,
            retrial,
            wanted=lambda: instance.generation == generation and instance.state in WORKING,
            entered=lambda state: self._messages.put(lambda: self._progress(instance, generation, state)),
            ask_room=lambda short, answer: self._messages.put(
                lambda: answer(self._make_room(instance, generation, short))
            ),
            ready=lambda loaded: self._messages.put(lambda: self._ready(instance, generation, loaded, epoch)),
            failed=lambda error: self._messages.put(lambda: self._failed(instance, generation, error, epoch)),
        )

    def _progress(self, instance: Instance, generation: int, state: State) -> None:
        if instance.generation == generation and instance.state in WORKING:
            self._enter(instance, state)

    def _make_room(self, instance: Instance, generation: int, short_bytes: int) -> bool:
        """Unload what it replaces, if that is wanted and enough. What is being unloaded in any case counts, too."""
        if instance.generation != generation or instance.state not in WORKING:
            return False
        short_bytes -= self._leaving_bytes
        if short_bytes <= 0 or not self._unload_first:
            return short_bytes <= 0
        model, version = self._models[instance.model], instance.announced.version
        others = model.making_room(instance, self._audiences(model.record), short_bytes)
        if not others:
            return False
        instance.alone, instance.room_given = True, instance.retrial
        instance.reason = f"waits until version {', '.join(map(str, others))} is unloaded: no memory for both"
        log.warning("model.unloaded_first", model=instance.model, version=version, unloading=others)
        self._report(instance.status(self._identity), False)
        self._decide(instance.model)
        return True

    def _ready(self, instance: Instance, generation: int, loaded: LoadedModel, epoch: int) -> None:
        if instance.generation != generation or instance.state not in WORKING:
            return
        instance.loaded, instance.tried, instance.room_given = loaded, False, -1
        loaded.circuit.watch(lambda error: self.broke(loaded, error))
        # Its state changes before the swap, since deciding looks at it; it is published after the swap.
        instance.enter(State.READY)
        self._decide(instance.model)
        if instance.state is State.READY:
            self._tell(instance)
        if epoch != self._trust_epoch and instance.loaded:
            self._check_trusted(instance, instance.loaded)

    def _failed(self, instance: Instance, generation: int, error: ModelError, epoch: int) -> None:
        if instance.generation != generation or instance.state not in WORKING:
            return
        instance.tried = True
        if not error.rejected:
            instance.retry_at = time.monotonic() + self._backoff.after(instance.attempts)
        elif error.kind == status_pb2.SIGNATURE and epoch != self._trust_epoch:
            instance.retry_at = time.monotonic()  # it was refused under other keys than those of now
        self._enter(instance, State.REJECTED if error.rejected else State.FAILED, error=error)
        self._decide(instance.model)

    def _drain(self, instance: Instance) -> None:
        loaded, instance.loaded = instance.loaded, None
        if loaded is not None:
            self._leaving_bytes += loaded.memory_bytes
            loaded.drain(lambda: self._messages.put(lambda: self._unloaded(instance, loaded)))

    def _unloaded(self, instance: Instance, loaded: LoadedModel) -> None:
        # Freeing a large model takes milliseconds: here, and not on the thread of the last request.
        loaded.session.close()
        self._leaving_bytes -= loaded.memory_bytes
        if instance.state is State.DRAINING:
            broken, instance.broken, instance.distrusted = instance.broken, None, False
            if broken and broken.kind == status_pb2.SIGNATURE and instance.judged_by != self._trust_epoch:
                instance.retry_at = time.monotonic()  # other keys count since it was refused
            self._enter(instance, State.REJECTED if broken else State.UNLOADED, error=broken, reason=instance.reason)
            self._decide(instance.model)
        self._retry_without_memory()

    def _retry_without_memory(self) -> None:
        """There is more of it now: what did not fit need not wait for its time."""
        for name, model in list(self._models.items()):
            waiting = [i for i in model.failed_by(status_pb2.RESOURCE) if i.retry_at]
            for instance in waiting:
                instance.retry_at = time.monotonic()
            if waiting:
                self._decide(name)

    def _broke(self, loaded: LoadedModel, error: ModelError) -> None:
        instance = self._models[loaded.model].by_version[loaded.version]
        if instance.loaded is not loaded or instance.state is not State.READY:
            return
        instance.broken, instance.tried = error, True
        log.error("instance.broken", model=loaded.model, version=loaded.version, error=str(error))
        self._report(instance.status(self._identity), False)
        self._decide(loaded.model)
        self._loader.refuse(loaded.digest, instance.retrial, error)  # last: a disk must not keep it from switching

    def _trust_changed(self) -> None:
        self._trust_epoch += 1
        for name, model in list(self._models.items()):
            refused = [i for i in model.failed_by(status_pb2.SIGNATURE) if i.state is State.REJECTED]
            for instance in refused:
                instance.retry_at = time.monotonic()
            if refused:
                self._decide(name)
            for version, loaded in model.loaded().items():
                self._check_trusted(model.by_version[version], loaded)

    def _check_trusted(self, instance: Instance, loaded: LoadedModel) -> None:
        """In a thread of its own: a signature may have to be fetched."""
        epoch = self._trust_epoch
        check_in_background(
            partial(self._loader.check_trusted, instance.model, instance.announced),
            wanted=lambda: instance.loaded is loaded and epoch == self._trust_epoch,
            refused=lambda error: self._messages.put(lambda: self._distrusted(instance, loaded, error, epoch)),
        )

    def _distrusted(self, instance: Instance, loaded: LoadedModel, error: ModelError, epoch: int) -> None:
        if instance.loaded is loaded and instance.state is State.READY and epoch == self._trust_epoch:
            instance.broken, instance.tried, instance.distrusted = error, True, True
            instance.judged_by = epoch
            self._decide(instance.model)

    def _backfilled(self, model: str, version: int, total: int, left: int) -> None:
        known = self._models.get(model)
        instance = known.by_version.get(version) if known else None
        if instance is not None:
            instance.backfill = (total, left)
            self._report(instance.status(self._identity), False)

    def _enter(self, instance: Instance, state: State, *, error: ModelError | None = None, reason: str = "") -> None:
        instance.enter(state, error=error, reason=reason)
        self._tell(instance)

    def _tell(self, instance: Instance) -> None:
        log_state(instance)
        self._report(instance.status(self._identity), True)


def _parts(shares: tuple[Share, ...]) -> dict[int, float]:
    return {share.version: share.weight_ppm / 1e6 for share in shares}
