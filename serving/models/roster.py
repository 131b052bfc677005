"""All instances of a worker, and how news of them goes: in as messages, out as reports. A deployer's parts share it.

Everything here but `put` belongs to the deployer's thread.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from protos.nearline.v1 import status_pb2
from serving.errors import ModelError
from serving.models.instance import Identity, Instance, log_state
from serving.models.instances import Instances
from serving.models.lifecycle import WORKING, State
from serving.models.mailbox import Message

Report = Callable[[status_pb2.InstanceStatus, bool], None]
"""The status, and whether its state was just entered."""


@dataclass(frozen=True, slots=True)
class Roster:
    """`put`: has a message handled by the deployer's thread, from any thread. `decide`: decides anew for a model."""

    identity: Identity
    report: Report
    put: Callable[[Message], None]
    decide: Callable[[str], None]
    models: dict[str, Instances] = field(default_factory=dict)

    def enter(self, instance: Instance, state: State, *, error: ModelError | None = None, reason: str = "") -> None:
        """Change an instance's state, and say so."""
        instance.enter(state, error=error, reason=reason)
        self.tell(instance)

    def tell(self, instance: Instance) -> None:
        """Say which state an instance has entered."""
        log_state(instance)
        self.report(instance.status(self.identity), True)

    def tell_progress(self, instance: Instance) -> None:
        """Say what is new of an instance in the state that it was in before."""
        self.report(instance.status(self.identity), False)

    def find(self, model: str, version: int) -> Instance | None:
        """Return an instance, if there is one."""
        known = self.models.get(model)
        return known.by_version.get(version) if known else None

    def working(self) -> bool:
        """Tell whether anything is on its way to READY."""
        return any(instance.state in WORKING for instance in self._all())

    def next_retry(self) -> float | None:
        """Return when the next retry of a failed load is due, by the monotonic clock; None: none is."""
        return min((i.retry_at for i in self._all() if i.retry_at is not None), default=None)

    def retry_now(self, instances: list[Instance]) -> None:
        """Have failed loads of one model tried again at once."""
        for instance in instances:
            instance.retry_at = time.monotonic()
        if instances:
            self.decide(instances[0].model)

    def _all(self) -> list[Instance]:
        return [instance for model in self.models.values() for instance in model.by_version.values()]
