"""What a worker tells the world."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from protos.judging import Outcome, Verdict
from protos.nearline.v1 import status_pb2
from protos.status_view import StatusView
from protos.topics import presence_key
from serving.models.instance import Identity
from serving.models.memory import ModelMemory
from serving.models.proofs import Proofs
from serving.subscriptions.reporter import PASSING_S, StatusReporter
from serving.subscriptions.telling import Telling
from serving.telemetry.metrics import Metrics
from tests.builders.buses import TOPICS, Connect, append, everything
from tests.builders.waiting import wait_until

STATUS = TOPICS.status.name
WHO = Identity("n", "w0", status_pb2.SERVING, "i")


class Scene:
    def __init__(self, folder: Path, heartbeat_s: float, passing_s: float) -> None:
        append(folder, STATUS)  # creates the topics
        self.folder = folder
        self.connect = Connect(folder)
        self.beats = 0
        self.reporter = StatusReporter(
            self.connect, TOPICS, WHO, self._presence, heartbeat_s=heartbeat_s, passing_s=passing_s
        )

    def _presence(self) -> status_pb2.Presence:
        self.beats += 1
        return status_pb2.Presence(node="n", worker="w0", incarnation="i", started_at_ms=self.beats)

    def view(self) -> StatusView:
        view = StatusView()
        for record in everything(self.folder, STATUS):
            view.apply(record.key, record.timestamp_ms, record.value)
        return view

    def states(self) -> dict[int, int]:
        return {s.version: s.state for s in self.view().statuses()}


@contextmanager
def reporting(
    folder: Path, *, heartbeat_s: float = 60, passing_s: float = PASSING_S, away: bool = False
) -> Iterator[Scene]:
    scene = Scene(folder, heartbeat_s, passing_s)
    scene.connect.away = away
    scene.reporter.start()
    try:
        yield scene
    finally:
        scene.reporter.stop()


def status(version: int, state: "status_pb2.InstanceState.ValueType") -> status_pb2.InstanceStatus:
    return status_pb2.InstanceStatus(
        node="n", worker="w0", incarnation="i", model="m", version=version, state=state, role=status_pb2.SERVING
    )


def test_presence_is_told_at_once_and_taken_back_at_the_end(tmp_path: Path) -> None:
    with reporting(tmp_path) as scene:
        wait_until(lambda: [p.worker for p in scene.view().presences()] == ["w0"])
    assert scene.view().presences() == []
    assert everything(tmp_path, STATUS)[-1].key == presence_key("n", "w0")


def test_presence_is_told_again_and_again(tmp_path: Path) -> None:
    with reporting(tmp_path, heartbeat_s=0.01) as scene:
        wait_until(lambda: any(p.started_at_ms >= 3 for p in scene.view().presences()))


def test_states_and_faults_are_told(tmp_path: Path) -> None:
    with reporting(tmp_path) as scene:
        scene.reporter.instance(status(1, status_pb2.READY))
        scene.reporter.fault(7, Verdict(Outcome.UNUSABLE, "m", 2, status_pb2.CONFLICT, "another digest"))
        wait_until(lambda: scene.states() == {1: status_pb2.READY} and scene.view().faults())
        (fault,) = scene.view().faults()
        assert (fault.offset, fault.model, fault.version, fault.incarnation) == (7, "m", 2, "i")
        assert (fault.error.kind, fault.error.message) == (status_pb2.CONFLICT, "another digest")


def test_a_state_that_is_passed_at_once_costs_no_record(tmp_path: Path) -> None:
    with reporting(tmp_path, passing_s=600) as scene:
        wait_until(lambda: scene.view().presences())
        before = everything(tmp_path, STATUS)[-1].offset
        for state in (status_pb2.FETCHING, status_pb2.LOADING, status_pb2.READY):
            scene.reporter.instance(status(1, state))
        wait_until(lambda: scene.states() == {1: status_pb2.READY})
        assert everything(tmp_path, STATUS)[-1].offset == before + 1


def test_news_of_another_version_takes_a_state_on_the_way_along(tmp_path: Path) -> None:
    with reporting(tmp_path, passing_s=600) as scene:
        scene.reporter.instance(status(1, status_pb2.LOADING))
        scene.reporter.instance(status(2, status_pb2.FAILED))
        wait_until(lambda: scene.states() == {1: status_pb2.LOADING, 2: status_pb2.FAILED})


def test_a_state_on_the_way_waits_no_longer_for_those_after_it(tmp_path: Path) -> None:
    with reporting(tmp_path, passing_s=0.1) as scene:
        wait_until(lambda: scene.view().presences())
        versions = count(1)

        def told_of_the_first() -> bool:
            scene.reporter.instance(status(next(versions), status_pb2.LOADING))
            return 1 in scene.states()

        wait_until(told_of_the_first)


def test_a_state_on_the_way_that_lasts_is_told(tmp_path: Path) -> None:
    with reporting(tmp_path) as scene:
        scene.reporter.instance(status(1, status_pb2.LOADING))
        wait_until(lambda: scene.states() == {1: status_pb2.LOADING})


def test_the_last_state_is_told_before_it_ends(tmp_path: Path) -> None:
    with reporting(tmp_path) as scene:
        for version in range(50):
            scene.reporter.instance(status(version + 1, status_pb2.READY))
    assert len(scene.states()) == 50


def test_while_the_bus_is_away_the_newest_state_of_each_waits(tmp_path: Path) -> None:
    with reporting(tmp_path, away=True) as scene:
        wait_until(lambda: scene.connect.refused)
        for state in (status_pb2.LOADING, status_pb2.WARMING, status_pb2.READY):
            scene.reporter.instance(status(1, state))
        scene.reporter.instance(status(2, status_pb2.FAILED))
        wait_until(lambda: scene.connect.refused >= 2)
        assert scene.states() == {}
        scene.connect.away = False
        wait_until(lambda: scene.states() == {1: status_pb2.READY, 2: status_pb2.FAILED})
        wait_until(lambda: [p.worker for p in scene.view().presences()] == ["w0"])


def refused_more_than(scene: Scene, often: int) -> Callable[[], bool]:
    return lambda: scene.connect.refused > often


def test_while_the_bus_is_away_the_log_is_not_flooded(tmp_path: Path) -> None:
    with capture_logs() as lines, reporting(tmp_path, away=True) as scene:
        for version in range(1, 20):
            scene.reporter.instance(status(version, status_pb2.READY))
            wait_until(refused_more_than(scene, scene.connect.refused))
        scene.connect.away = False
        wait_until(lambda: len(scene.states()) == 19)
        wait_until(lambda: len(lines) == 2)
    assert [line["event"] for line in lines] == ["status.waiting", "status.sent"]


def test_it_ends_without_a_bus(tmp_path: Path) -> None:
    with reporting(tmp_path, away=True) as scene:
        wait_until(lambda: scene.connect.refused)
    assert not scene.reporter._thread.is_alive()


def test_what_happens_is_counted_too(tmp_path: Path) -> None:
    registry, memory = CollectorRegistry(), ModelMemory(100)
    memory.take("m/1", 60)
    with reporting(tmp_path) as scene:
        telling = Telling(scene.reporter, Metrics(registry), Proofs(tmp_path / "verdicts"), "w0", memory)
        failed = status(1, status_pb2.FAILED)
        failed.error.kind = status_pb2.FETCH
        telling.instance(failed, entered=True)
        telling.instance(failed, entered=False)  # progress is told, and no transition
        telling.fault(3, Verdict(Outcome.UNUSABLE, kind=status_pb2.POLICY, message="no"))
        wait_until(lambda: scene.states() and scene.view().faults())
    value = registry.get_sample_value
    labels = {"model": "m", "version": "1"}
    assert value("nearline_instance_transitions_total", {**labels, "role": "SERVING", "state": "FAILED"}) == 1
    assert value("nearline_load_errors_total", {**labels, "worker": "w0", "kind": "FETCH"}) == 1
    assert value("nearline_ledger_faults_total", {"kind": "POLICY"}) == 1
    assert value("nearline_model_memory_bytes", {"worker": "w0"}) == 60
    assert value("nearline_model_memory_budget_bytes", {"worker": "w0"}) == 100


def test_a_record_that_counts_after_all_is_taken_back(tmp_path: Path) -> None:
    with reporting(tmp_path) as scene:
        for offset in (3, 4):
            scene.reporter.fault(offset, Verdict(Outcome.UNUSABLE, kind=status_pb2.SIGNATURE, message="by nobody"))
        wait_until(lambda: len(scene.view().faults()) == 2)
        scene.reporter.sound(3)
        wait_until(lambda: [fault.offset for fault in scene.view().faults()] == [4])


def test_a_version_that_was_ready_is_told_as_such_in_a_later_process_that_cannot_load_it(tmp_path: Path) -> None:
    ready = status(1, status_pb2.READY)
    ready.digest, ready.since_ms = "d", 1234
    for state in (status_pb2.READY, status_pb2.FAILED):
        with reporting(tmp_path) as scene:
            ready.state = state
            telling = Telling(
                scene.reporter, Metrics(CollectorRegistry()), Proofs(tmp_path / "verdicts"), "w0", ModelMemory(100)
            )
            telling.instance(ready, entered=True)
    (told,) = scene.view().statuses()
    assert (told.state, told.ready_at_ms) == (status_pb2.FAILED, 1234)
    assert scene.view().ready_digests("m") == {"d"}
