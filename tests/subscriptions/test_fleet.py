"""What any worker knows of all of them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from protos.nearline.v1 import status_pb2
from protos.topics import presence_key
from serving.subscriptions.fleet import FleetFollower
from tests.builders.buses import TOPICS, Connect, append
from tests.builders.waiting import DEADLINE_S, wait_until

STATUS = TOPICS.status.name


def presence(worker: str) -> tuple[bytes, bytes]:
    said = status_pb2.StatusRecord(presence=status_pb2.Presence(node="n", worker=worker, incarnation=worker))
    return presence_key("n", worker), said.SerializeToString()


@contextmanager
def fleet(folder: Path) -> Iterator[tuple[FleetFollower, threading.Event]]:
    changed = threading.Event()
    follower = FleetFollower(Connect(folder), TOPICS, changed.set)
    follower.start()
    try:
        yield follower, changed
    finally:
        follower.stop()


def workers(follower: FleetFollower) -> set[str]:
    return follower.read(lambda view: {p.worker for p in view.presences()})


def test_it_knows_what_was_said_before_and_hears_what_is_said_later(tmp_path: Path) -> None:
    append(tmp_path, STATUS, presence("w0"))
    with fleet(tmp_path) as (follower, changed):
        wait_until(lambda: workers(follower) == {"w0"})
        assert changed.wait(DEADLINE_S)
        changed.clear()
        append(tmp_path, STATUS, presence("w1"))
        wait_until(lambda: workers(follower) == {"w0", "w1"})
        assert changed.wait(DEADLINE_S)
        append(tmp_path, STATUS, (presence_key("n", "w0"), None))
        wait_until(lambda: workers(follower) == {"w1"})


def test_it_waits_for_a_topic_that_is_not_there_yet(tmp_path: Path) -> None:
    with fleet(tmp_path) as (follower, _):
        assert workers(follower) == set()
        append(tmp_path, STATUS, presence("w0"))
        wait_until(lambda: workers(follower) == {"w0"})


def test_a_record_that_cannot_be_read_is_counted_and_the_rest_goes_on(tmp_path: Path) -> None:
    append(tmp_path, STATUS, (b"x", b"\xff\xff"), presence("w0"))
    with fleet(tmp_path) as (follower, _):
        wait_until(lambda: workers(follower) == {"w0"})
        assert follower.read(lambda view: view.undecodable) == 1
