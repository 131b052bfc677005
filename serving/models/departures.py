"""Instances on their way out of memory: drained, then freed, on the deployer's thread and never on a request's."""

import time

import structlog

from protos.nearline.v1 import status_pb2
from serving.errors import ModelError
from serving.models.instance import Instance
from serving.models.lifecycle import State
from serving.models.loaded import LoadedModel
from serving.models.loader import Loader
from serving.models.roster import Roster
from serving.models.trusting import Trusting

log = structlog.get_logger()


class Departures:
    """`leaving_bytes`: of what is being unloaded, and still there."""

    def __init__(self, roster: Roster, loader: Loader, trusting: Trusting) -> None:
        self._roster = roster
        self._loader = loader
        self._trusting = trusting
        self.leaving_bytes = 0

    def broke(self, loaded: LoadedModel, error: ModelError) -> None:
        """Have what failed again and again while it ran serve only until another one can."""
        instance = self._roster.models[loaded.model].by_version[loaded.version]
        if instance.loaded is not loaded or instance.state is not State.READY:
            return
        instance.broken, instance.tried = error, True
        log.error("instance.broken", model=loaded.model, version=loaded.version, error=str(error))
        self._roster.tell_progress(instance)
        self._roster.decide(loaded.model)
        self._loader.refuse(loaded.digest, instance.retrial, error)  # last: a disk must not keep it from switching

    def drain(self, instance: Instance) -> None:
        """Take an instance away once its last request has ended. Its state says already that it goes."""
        loaded, instance.loaded = instance.loaded, None
        if loaded is not None:
            self.leaving_bytes += loaded.memory_bytes
            loaded.drain(lambda: self._roster.put(lambda: self._unloaded(instance, loaded)))

    def _unloaded(self, instance: Instance, loaded: LoadedModel) -> None:
        # Freeing a large model takes milliseconds: here, and not on the thread of the last request.
        loaded.session.close()
        self.leaving_bytes -= loaded.memory_bytes
        if instance.state is State.DRAINING:
            broken, instance.broken, instance.distrusted = instance.broken, None, False
            if broken and broken.kind == status_pb2.SIGNATURE and instance.judged_by != self._trusting.epoch:
                instance.retry_at = time.monotonic()  # other keys count since it was refused
            state = State.REJECTED if broken else State.UNLOADED
            self._roster.enter(instance, state, error=broken, reason=instance.reason)
            self._roster.decide(instance.model)
        self._retry_without_memory()

    def _retry_without_memory(self) -> None:
        """There is more of it now: what did not fit need not wait for its time."""
        for model in list(self._roster.models.values()):
            self._roster.retry_now([i for i in model.failed_by(status_pb2.RESOURCE) if i.retry_at])
