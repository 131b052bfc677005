"""A deployer on stage: a fake loader that tests hold and release, and everything that was reported."""

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import cast

from protos.judging import Outcome
from protos.ledger import World
from protos.nearline.v1 import status_pb2
from protos.records import Announced, Share
from serving.bundles.bundle import Bundle
from serving.bundles.session import ModelSession
from serving.errors import ModelError
from serving.models.admission import Admission, MakeRoom, no_room
from serving.models.deployer import Deployer
from serving.models.instance import Identity
from serving.models.lifecycle import NotWantedError, State
from serving.models.loaded import LoadedModel
from serving.models.loader import Loader
from serving.models.loading import Backoff
from serving.models.memory import ModelMemory, Taken
from serving.models.policy import audience
from serving.models.table import ActiveTable
from tests.builders.ledger import Entry
from tests.builders.waiting import DEADLINE_S, wait_until

STEPS = (State.FETCHING, State.VERIFYING, State.LOADING, State.WARMING)
NOT_SOON = Backoff(60, 60)


class FakeSession:
    """Closing is all that a deployer does with a session."""

    def __init__(self) -> None:
        self.closed_by = ""

        self.taken: Taken | None = None

    def close(self) -> None:
        self.closed_by = threading.current_thread().name
        if self.taken:
            self.taken.give_back()


class FakeLoader(Loader):
    """Real loads take long and fail when they like; these do when the test says so.

    `sizes`: bytes that a version counts for, of `budget`. `cold`: versions that fail once they were loaded.
    """

    def __init__(self) -> None:
        self._admission = Admission(ModelMemory(), 1)
        self.sizes: dict[tuple[str, int], int] = {}
        self.distrusted: set[int] = set()
        self.unchecked: list[Exception] = []
        self.cold: dict[tuple[str, int], bool] = {}
        self.calls: list[tuple[str, int]] = []
        self.refused: list[str] = []
        self.unwritable: OSError | None = None
        self.not_wanted: list[tuple[str, int]] = []
        self.failures: dict[tuple[str, int], list[Exception]] = {}
        self.gates: dict[tuple[str, int, State | None], threading.Event] = {}
        self.niceness: dict[State, int] = {}
        """Of the thread of the last load, before it entered each state."""

    def refuse(self, digest: str, retrial: int, error: ModelError) -> None:
        del retrial, error
        if self.unwritable:
            raise self.unwritable
        self.refused.append(digest)

    def check_trusted(self, model: str, announced: Announced) -> None:
        if self.unchecked:
            raise self.unchecked.pop(0)
        if announced.version in self.distrusted:
            raise ModelError(status_pb2.SIGNATURE, f"{model}: by nobody", rejected=True)

    def budget(self, size: int) -> None:
        self._admission = Admission(ModelMemory(size), 1)

    def hold(self, model: str, version: int, before: State | None) -> threading.Event:
        """Stop that load before it enters a state (None: before it returns) until the event is set."""
        return self.gates.setdefault((model, version, before), threading.Event())

    def load(
        self,
        model: str,
        announced: Announced,
        retrial: int,
        enter: Callable[[State], None],
        wanted: Callable[[], bool],
        make_room: MakeRoom = no_room,
    ) -> LoadedModel:
        del retrial
        name = (model, announced.version)
        session = FakeSession()
        self.calls.append(name)
        try:
            for state in (*STEPS, None):
                gate = self.gates.get((*name, state))
                if gate is not None:
                    assert gate.wait(DEADLINE_S)
                if state is State.LOADING:
                    session.taken = self._admission.take(
                        f"{model}/{name[1]}", self.sizes.get(name, 0), wanted, make_room
                    )
                if state is not None:
                    self.niceness[state] = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
                    enter(state)
                failures = self.failures.get(name)
                if state is State.FETCHING and failures:
                    raise failures.pop(0)
                if state is State.WARMING and self.cold.pop(name, False):
                    session.close()
                    raise ModelError(status_pb2.WARMUP, "too slow")
        except NotWantedError:
            self.not_wanted.append(name)
            raise
        loaded = LoadedModel(
            model, announced.version, announced.digest, cast("Bundle", None), cast("ModelSession", session)
        )
        loaded.memory_bytes = self.sizes.get(name, 0)
        return loaded


class Stage:
    def __init__(self, backoff: Backoff, labels: Mapping[str, str], *, unload_first: bool = False) -> None:
        self.table = ActiveTable()
        self.loader = FakeLoader()
        self.world = World()
        self.reports: list[status_pb2.InstanceStatus] = []
        self.serving_when_reported: list[tuple[Share, ...]] = []
        identity = Identity("n", "w0", status_pb2.SERVING, "i")
        self.filled = True
        self.imported: set[int] = set()
        self.deployer = Deployer(
            identity,
            lambda _record: [audience(labels)],
            self.loader,
            self.table,
            self._report,
            backoff,
            lambda _shares, _ready: self.filled,
            lambda _model, load: load.number in self.imported,
            unload_first=unload_first,
        )

    def _report(self, status: status_pb2.InstanceStatus, entered: bool) -> None:
        active = self.table.current.get(status.model)
        self.serving_when_reported.append(active.shares if active else ())
        self.reports.append(status)
        assert entered or status.state == status_pb2.READY or "no memory" in status.reason

    def say(self, *entries: Entry) -> None:
        """Fold records and hand over what changed, all at once."""
        changed, announced = {}, dict[str, list[int]]()
        for entry in entries:
            verdict = self.world.apply(self.world.position, *entry)
            assert verdict.outcome is Outcome.ACCEPTED
            changed[verdict.model] = self.world.models[verdict.model].snapshot()
            if verdict.version:
                announced.setdefault(verdict.model, []).append(verdict.version)
        self.deployer.follow(changed, announced)

    def serving(self, model: str = "m") -> list[int]:
        active = self.table.current.get(model)
        return [share.version for share in active.shares] if active else []

    def states(self, version: int, model: str = "m") -> list[State]:
        return [State(r.state) for r in list(self.reports) if (r.model, r.version) == (model, version)]

    def last(self, version: int, model: str = "m") -> status_pb2.InstanceStatus:
        return next(r for r in reversed(list(self.reports)) if (r.model, r.version) == (model, version))

    def wait_state(self, version: int, state: State, model: str = "m") -> None:
        wait_until(
            lambda: self.states(version, model)[-1:] == [state],
            f"version {version}: expected {state.name}",
        )

    def wait_handled(self) -> None:
        """Return when the deployer has handled all messages up to now."""
        done = threading.Event()
        self.deployer._messages.put(done.set)  # the only way to know
        assert done.wait(DEADLINE_S)


@contextmanager
def on_stage(
    backoff: Backoff = NOT_SOON, labels: Mapping[str, str] | None = None, *, unload_first: bool = False
) -> Iterator[Stage]:
    stage = Stage(backoff, labels or {}, unload_first=unload_first)
    stage.deployer.start()
    try:
        yield stage
    finally:
        for gate in stage.loader.gates.values():
            gate.set()
        stage.deployer.stop()


def fetch_error() -> ModelError:
    return ModelError(status_pb2.FETCH, "unreachable", detail="more words")


def refusal() -> ModelError:
    return ModelError(status_pb2.POLICY, "outside", rejected=True)
