"""What is taken back of a dead worker's words, and what stays."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protos.nearline.v1 import status_pb2
from protos.status_view import StatusView
from protos.topics import instance_key, presence_key
from serving.bus.embedded.bus import EmbeddedBus
from serving.supervisor.stale import clear_stale
from tests.builders.buses import TOPICS, everything

UNFINISHED = ["ANNOUNCED", "FETCHING", "VERIFYING", "LOADING", "WARMING"]
STATES = [*UNFINISHED, "READY", "DRAINING", "UNLOADED", "FAILED", "REJECTED", "SUPERSEDED"]


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[EmbeddedBus]:
    opened = EmbeddedBus(tmp_path / "bus")
    opened.ensure_topics(TOPICS.all())
    yield opened
    opened.close()


def say(bus: EmbeddedBus, node: str, worker: str, *states: str) -> None:
    """The worker is there, and its instance of version 1, 2, … is in that state."""
    presence = status_pb2.StatusRecord(presence=status_pb2.Presence(node=node, worker=worker, incarnation="i"))
    bus.append(TOPICS.status.name, presence_key(node, worker), presence.SerializeToString())
    for version, state in enumerate(states, 1):
        status = status_pb2.InstanceStatus(
            model="m",
            version=version,
            node=node,
            worker=worker,
            incarnation="i",
            state=status_pb2.InstanceState.Value(state),
        )
        record = status_pb2.StatusRecord(instance=status).SerializeToString()
        bus.append(TOPICS.status.name, instance_key(node, worker, "m", version), record)


def view(folder: Path) -> StatusView:
    folded = StatusView()
    for record in everything(folder, TOPICS.status.name):
        folded.apply(record.key, record.timestamp_ms, record.value)
    return folded


def workers(folder: Path) -> set[tuple[str, str]]:
    return {(presence.node, presence.worker) for presence in view(folder).presences()}


def soon() -> float:
    return time.monotonic() + 60


def test_a_dead_worker_is_taken_back_and_the_others_stay(bus: EmbeddedBus, tmp_path: Path) -> None:
    for node, worker in (("a", "w0"), ("a", "w1"), ("b", "w0")):
        say(bus, node, worker)
    assert clear_stale(bus, TOPICS, "a", {"w0"}, soon()) == 1
    assert workers(tmp_path) == {("a", "w1"), ("b", "w0")}


def test_at_a_start_all_workers_of_the_node_are_taken_back(bus: EmbeddedBus, tmp_path: Path) -> None:
    for node, worker in (("a", "w0"), ("a", "w1"), ("b", "w0")):
        say(bus, node, worker)
    assert clear_stale(bus, TOPICS, "a", None, soon()) == 2
    assert workers(tmp_path) == {("b", "w0")}


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(STATES), max_size=6))
def test_what_was_begun_is_taken_back_and_what_it_came_to_stays(
    tmp_path_factory: pytest.TempPathFactory, states: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("stale")
    bus = EmbeddedBus(folder / "bus")
    bus.ensure_topics(TOPICS.all())
    say(bus, "a", "w0", *states)
    say(bus, "b", "w0", *states)
    unfinished = [state for state in states if state in UNFINISHED]

    assert clear_stale(bus, TOPICS, "a", {"w0"}, soon()) == 1 + len(unfinished)
    assert clear_stale(bus, TOPICS, "a", {"w0"}, soon()) == 0, "once is enough"

    bus.close()
    left = {
        node: sorted(
            status_pb2.InstanceState.Name(status.state) for status in view(folder).statuses() if status.node == node
        )
        for node in ("a", "b")
    }
    assert left == {"a": sorted(state for state in states if state not in UNFINISHED), "b": sorted(states)}


def test_what_was_begun_again_still_proves_that_it_was_ready_before(bus: EmbeddedBus, tmp_path: Path) -> None:
    status = status_pb2.InstanceStatus(
        model="m", version=1, digest="d", node="a", worker="w0", state=status_pb2.LOADING, ready_at_ms=5
    )
    record = status_pb2.StatusRecord(instance=status).SerializeToString()
    bus.append(TOPICS.status.name, instance_key("a", "w0", "m", 1), record)
    clear_stale(bus, TOPICS, "a", None, soon())
    assert view(tmp_path).ready_digests("m") == {"d"}


def test_after_the_deadline_nothing_is_written_since_the_worker_may_be_back(bus: EmbeddedBus, tmp_path: Path) -> None:
    say(bus, "a", "w0", "LOADING")
    clear_stale(bus, TOPICS, "a", {"w0"}, time.monotonic() - 1)
    assert workers(tmp_path) == {("a", "w0")}


def test_nothing_to_take_back_writes_nothing(bus: EmbeddedBus, tmp_path: Path) -> None:
    assert clear_stale(bus, TOPICS, "a", None, soon()) == 0
    assert everything(tmp_path, TOPICS.status.name) == []
