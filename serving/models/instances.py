"""The instances of one model in this process, and what the ledger says of it: all that the deployer looks at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from protos.nearline.v1 import status_pb2
from protos.records import Announced, ModelRecord
from serving.models.instance import Instance
from serving.models.lifecycle import WORKING, State
from serving.models.loaded import LoadedModel
from serving.models.policy import VOID, Audience, Seen, Serving, superseded_reason
from serving.models.room import replaced


@dataclass(slots=True)
class Instances:
    """`serving`: what serves, by audience."""

    record: ModelRecord = field(default_factory=ModelRecord)
    by_version: dict[int, Instance] = field(default_factory=dict)
    serving: Mapping[Audience, Serving] = field(default_factory=dict)

    def seen(self, now: float) -> dict[int, Seen]:
        """Return snapshots for the policy; `now` is by the monotonic clock."""
        return {
            version: Seen(
                instance.state,
                self._again(instance, now),
                instance.tried,
                broken=instance.broken is not None,
                alone=instance.alone,
                void=instance.distrusted or instance.unsaid(self.record),
            )
            for version, instance in self.by_version.items()
        }

    def _again(self, instance: Instance, now: float) -> bool:
        if instance.state not in {State.FAILED, State.REJECTED}:
            return False
        told = self.record.retrials.get(instance.announced.version, 0) > instance.retrial
        return told or (instance.retry_at is not None and instance.retry_at <= now)

    def loaded(self) -> dict[int, LoadedModel]:
        """Return those that are in memory, and are not being taken away."""
        return {version: loaded for version, i in self.by_version.items() if (loaded := i.loaded) is not None}

    def announced(self, name: str, announced: Announced) -> Instance:
        """Return the instance of a version, a new one if need be, in its first state."""
        instance = self.by_version.get(announced.version)
        if instance is None:
            instance = self.by_version[announced.version] = Instance(name, announced)
        else:
            instance.enter(State.ANNOUNCED)
            if instance.announced.digest != announced.digest:  # of its number, another bundle counts now
                instance.tried = False
            instance.announced = announced
        return instance

    def failed_by(self, kind: "status_pb2.ErrorKind.ValueType") -> list[Instance]:
        """Return those that are FAILED or REJECTED for that reason."""
        ended = (i for i in self.by_version.values() if i.state in {State.FAILED, State.REJECTED})
        return [instance for instance in ended if instance.error is not None and instance.error.kind == kind]

    def making_room(self, instance: Instance, audiences: Sequence[Audience], short_bytes: int) -> list[int]:
        """Return the versions whose unloading gives a new one the memory that it lacks; none when that cannot be.

        It is given only once: what fails all the same is no better the next time.
        """
        if instance.room_given == instance.retrial:
            return []
        sizes = {version: loaded.memory_bytes for version, loaded in self.loaded().items()}
        others = replaced(self.record, audiences, instance.announced.version, sizes)
        return others if sum(sizes[other] for other in others) >= short_bytes else []

    def why_unloaded(self, version: int, seen: Mapping[int, Seen]) -> str:
        """Say why a version is taken away, where that is not plain from what serves."""
        if seen[version].void:
            return VOID
        alone = next((v for v, other in seen.items() if other.alone and other.state in WORKING), None)
        return f"there is no memory for it beside version {alone}" if alone else ""

    def why_unwanted(self, version: int, audiences: Sequence[Audience]) -> str:
        """Say why a version is not even loaded."""
        held = self.record.versions[version].held and version not in self.record.named
        return "held until a rollout names it" if held else superseded_reason(self.record, audiences)
