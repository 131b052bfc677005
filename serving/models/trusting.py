"""Other keys are trusted while a worker runs: signatures of bundles are judged anew, of loaded and of refused ones."""

from functools import partial

from protos.nearline.v1 import status_pb2
from serving.errors import ModelError
from serving.models.instance import Instance
from serving.models.lifecycle import State
from serving.models.loaded import LoadedModel
from serving.models.loader import Loader
from serving.models.loading import check_in_background
from serving.models.roster import Roster


class Trusting:
    """`epoch`: counts changes of trusted keys; what was judged under another one than this may be wrong."""

    def __init__(self, roster: Roster, loader: Loader) -> None:
        self._roster = roster
        self._loader = loader
        self.epoch = 0

    def changed(self) -> None:
        """Judge all by the keys of now."""
        self.epoch += 1
        for model in list(self._roster.models.values()):
            self._roster.retry_now([i for i in model.failed_by(status_pb2.SIGNATURE) if i.state is State.REJECTED])
            for version, loaded in model.loaded().items():
                self._check(model.by_version[version], loaded)

    def check_since(self, instance: Instance, epoch: int) -> None:
        """Judge a bundle that is loaded once more, where other keys count since it was judged in that epoch."""
        if epoch != self.epoch and instance.loaded:
            self._check(instance, instance.loaded)

    def _check(self, instance: Instance, loaded: LoadedModel) -> None:
        """In a thread of its own: a signature may have to be fetched."""
        epoch = self.epoch
        check_in_background(
            partial(self._loader.check_trusted, instance.model, instance.announced),
            wanted=lambda: instance.loaded is loaded and epoch == self.epoch,
            refused=lambda error: self._roster.put(lambda: self._distrusted(instance, loaded, error, epoch)),
        )

    def _distrusted(self, instance: Instance, loaded: LoadedModel, error: ModelError, epoch: int) -> None:
        if instance.loaded is loaded and instance.state is State.READY and epoch == self.epoch:
            instance.broken, instance.tried, instance.distrusted = error, True, True
            instance.judged_by = epoch
            self._roster.decide(instance.model)
