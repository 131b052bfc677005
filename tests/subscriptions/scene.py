"""A follower of the ledger, and all that it told."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from protos.judging import Verdict
from protos.records import ModelRecord
from serving.subscriptions.checkpoint import CheckpointFile
from serving.subscriptions.ledger import LedgerFollower
from serving.trust.trust import Trust
from tests.builders.buses import TOPICS, Connect, append
from tests.builders.ledger import Entry

LEDGER = TOPICS.models.name


class Scene:
    """A follower, and all that it told."""

    def __init__(self, folder: Path, name: str = "w0", trust: Trust | None = None) -> None:
        self.folder = folder
        self.connect = Connect(folder)
        self.models: dict[str, ModelRecord] = {}
        self.announced: list[tuple[str, int]] = []
        self.faults: list[tuple[int, Verdict]] = []
        self.sound: list[int] = []
        self.trust = trust
        self.known_when_retrusted: list[set[str]] = []
        self.caught_up = 0
        self.follower = LedgerFollower(
            self.connect,
            TOPICS,
            CheckpointFile(folder / "checkpoints" / name, trust),
            changed=self._changed,
            caught_up=self._caught_up,
            fault=lambda offset, verdict: self.faults.append((offset, verdict)),
            sound=self.sound.append,
            trusted=lambda: self.trust,
            retrusted=self._retrusted,
        )

    def _changed(self, records: Mapping[str, ModelRecord], announced: Mapping[str, list[int]]) -> None:
        self.announced += [(name, version) for name, versions in announced.items() for version in versions]
        self.models.update(records)  # last: tests wait for it

    def _retrusted(self) -> None:
        self.known_when_retrusted.append({name for name, record in self.models.items() if record.versions})

    def _caught_up(self) -> None:
        self.caught_up += 1

    def say(self, *entries: Entry) -> None:
        append(self.folder, LEDGER, *entries)

    def versions(self, model: str = "m") -> set[int]:
        record = self.models.get(model)
        return set(record.versions) if record else set()


@contextmanager
def following(folder: Path, *, away: bool = False, name: str = "w0", trust: Trust | None = None) -> Iterator[Scene]:
    scene = Scene(folder, name, trust)
    scene.connect.away = away
    scene.follower.start()
    try:
        yield scene
    finally:
        scene.follower.stop()
