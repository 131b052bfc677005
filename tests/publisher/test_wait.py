"""Following the status topic until an announcement has ended its way in every live worker."""

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from protos.nearline.v1 import status_pb2
from protos.nearline.v1.status_pb2 import FAILED, FETCHING, READY, REJECTED, SUPERSEDED
from protos.status_view import LIVE_MS
from publisher.announce import Announcement
from publisher.progress import Progress
from publisher.wait import wait_until_ended
from serving.bus.embedded.bus import EmbeddedBus
from tests.builders.buses import TOPICS
from tests.builders.fleet import DIGEST, Fleet
from tests.builders.waiting import DEADLINE_S


def announced(at_ms: int) -> Announcement:
    return Announcement("m", 1, DIGEST, "file:///", 0, at_ms)


def states(progress: Progress) -> list[tuple[str, str]]:
    return [
        (presence.worker, status_pb2.InstanceState.Name(status.state) if status else "")
        for presence, status in progress.rows
    ]


def test_with_no_live_worker_it_returns_at_once(fleet: Fleet) -> None:
    progress = wait_until_ended(fleet.bus, TOPICS, announced(1), 60)
    assert (progress.rows, progress.ended, progress.failed) == ((), True, [])


def test_a_worker_not_seen_for_long_counts_as_gone(fleet: Fleet) -> None:
    seen_ms = fleet.live("w")
    assert wait_until_ended(fleet.bus, TOPICS, announced(seen_ms + LIVE_MS + 1), 60).rows == ()


@pytest.mark.parametrize("end", [READY, FAILED, REJECTED, SUPERSEDED])
def test_each_way_may_end_in_its_own_state(fleet: Fleet, end: "status_pb2.InstanceState.ValueType") -> None:
    now_ms = fleet.live("a")
    fleet.live("b")
    fleet.say("a", READY)
    fleet.say("b", end)
    progress = wait_until_ended(fleet.bus, TOPICS, announced(now_ms), 60)
    assert states(progress) == [("a", "READY"), ("b", status_pb2.InstanceState.Name(end))]
    assert [status.worker for status in progress.failed] == (["b"] if end in {FAILED, REJECTED} else [])


def test_it_took_from_the_announcement_to_the_last_end_by_the_buss_clock_however_late_one_looks(fleet: Fleet) -> None:
    fleet.live("a")
    fleet.live("b")
    fleet.say("a", READY)
    last_ms = fleet.say("b", READY)
    fleet.live("a")  # heartbeats since then do not count
    for before_ms in (1_234, 0, -5_000):  # the same bundle announced again: all had ended before
        progress = wait_until_ended(fleet.bus, TOPICS, announced(last_ms - before_ms), 60)
        assert progress.seconds == max(0, before_ms) / 1000


def test_a_worker_that_does_not_accept_the_record_has_ended_too(fleet: Fleet) -> None:
    now_ms = fleet.live("a")
    fleet.live("b")
    fleet.say("a", READY)
    fleet.refuse("b", offset=7)
    fleet.refuse("b", offset=0, incarnation="earlier")
    assert not wait_until_ended(fleet.bus, TOPICS, announced(now_ms), 0.1).ended, "those are other records"
    last_ms = fleet.refuse("b", offset=0)
    progress = wait_until_ended(fleet.bus, TOPICS, announced(now_ms), 60)
    assert states(progress) == [("a", "READY"), ("b", "REJECTED")]
    assert [status.error.message for status in progress.failed] == ["by nobody"]
    assert progress.seconds == max(0, last_ms - now_ms) / 1000


def test_when_the_time_is_over_it_returns_what_there_is(fleet: Fleet) -> None:
    now_ms = fleet.live("a")
    fleet.say("a", FETCHING)
    progress = wait_until_ended(fleet.bus, TOPICS, announced(now_ms), 0.1)
    assert (states(progress), progress.ended, progress.failed) == ([("a", "FETCHING")], False, [])


def test_another_bundle_or_an_earlier_process_does_not_speak_for_it(fleet: Fleet) -> None:
    now_ms = fleet.live("a", incarnation="2")
    fleet.live("b")
    fleet.say("a", READY, incarnation="1")
    fleet.say("b", READY, digest="e" * 64)
    progress = wait_until_ended(fleet.bus, TOPICS, announced(now_ms), 0.1)
    assert (states(progress), progress.ended) == ([("a", ""), ("b", "")], False)


class Follower:
    """A wait in a thread of its own; `step` returns when it has shown that state."""

    def __init__(self, folder: Path, pool: ThreadPoolExecutor, at_ms: int) -> None:
        self._seen: list[list[tuple[str, str]]] = []
        self._news = threading.Condition()
        self._bus = EmbeddedBus(folder / "bus")
        self.result: Future[Progress] = pool.submit(
            wait_until_ended, self._bus, TOPICS, announced(at_ms), 60, self._shown
        )

    def _shown(self, progress: Progress) -> None:
        with self._news:
            self._seen.append(states(progress))
            self._news.notify_all()

    def step(self, *expected: tuple[str, str]) -> None:
        with self._news:
            assert self._news.wait_for(lambda: list(expected) in self._seen, DEADLINE_S), self._seen

    def end(self) -> Progress:
        progress = self.result.result(DEADLINE_S)
        self._bus.close()
        return progress


def test_every_change_is_shown_until_all_have_ended(fleet: Fleet, tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    now_ms = fleet.live("a")
    follower = Follower(tmp_path, pool, now_ms)
    follower.step(("a", ""))
    fleet.say("a", FETCHING)
    follower.step(("a", "FETCHING"))
    fleet.live("b")
    follower.step(("a", "FETCHING"), ("b", ""))
    fleet.say("a", READY)
    follower.step(("a", "READY"), ("b", ""))
    fleet.say("b", FAILED)
    assert [status.worker for status in follower.end().failed] == ["b"]


def test_a_worker_that_goes_meanwhile_is_not_waited_for(fleet: Fleet, tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    now_ms = fleet.live("a")
    fleet.live("b")
    fleet.say("a", READY)
    follower = Follower(tmp_path, pool, now_ms)
    follower.step(("a", "READY"), ("b", ""))
    fleet.gone("b")
    assert states(follower.end()) == [("a", "READY")]


def test_a_worker_that_was_restarted_meanwhile_is_waited_for_again(
    fleet: Fleet, tmp_path: Path, pool: ThreadPoolExecutor
) -> None:
    now_ms = fleet.live("a")
    fleet.live("b")
    fleet.say("b", READY)
    follower = Follower(tmp_path, pool, now_ms)
    follower.step(("a", ""), ("b", "READY"))
    fleet.live("b", incarnation="2")
    follower.step(("a", ""), ("b", ""))
    fleet.say("b", READY, incarnation="2")
    fleet.say("a", READY)
    assert states(follower.end()) == [("a", "READY"), ("b", "READY")]
