"""Waiting until enough instances are READY: each way that it can end."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from protos.nearline.v1 import status_pb2
from protos.nearline.v1.status_pb2 import FAILED, FETCHING, READY, REJECTED, SUPERSEDED, UNLOADED
from protos.records import MILLION
from protos.status_view import LIVE_MS
from publisher.ledger import Ledger
from publisher.progress import Progress
from publisher.ready import Quorum, Readiness, wait_until_ready
from serving.bus import read_status
from serving.bus.embedded.bus import EmbeddedBus
from serving.bus.port import Bus
from serving.errors import InvalidRequestError, UserError
from tests.builders.buses import TOPICS
from tests.builders.fleet import Fleet as Workers
from tests.builders.ledger import Entry, announced, announcement, retirement, rollout
from tests.builders.waiting import wait_until

DIGEST = announced(1).digest


class Fleet(Workers):
    """And what is said on the ledger: version 1 of m is held."""

    def tell(self, *entries: Entry) -> None:
        self.bus.append_many(TOPICS.models.name, entries)

    def state(self, worker: str, state: "status_pb2.InstanceState.ValueType") -> None:
        self.say(worker, state, digest=DIGEST)


@pytest.fixture
def fleet(bus: EmbeddedBus) -> Fleet:
    made = Fleet(bus)
    made.tell(announcement("m", 1, held=True))
    return made


def wait(bus: Bus, quorum: str = "all", timeout_s: float = 60, **scope: str) -> Readiness:
    return wait_until_ready(Ledger(bus, TOPICS), bus, TOPICS, "m", 1, Quorum.parse(quorum), scope, timeout_s)


@pytest.mark.parametrize(
    ("quorum", "counts"),
    [
        ("all", {0: 0, 1: 1, 3: 3}),
        ("100%", {1: 1, 3: 3}),
        ("50%", {1: 1, 2: 1, 3: 2, 4: 2}),
        ("1", {1: 1, 100: 1, 101: 2}),
        ("7", {100: 7}),  # in floating point it would be 8
        ("28%", {25: 7}),
        ("66.7", {3: 3}),  # two of three are 66.66… %
        ("66.6", {3: 2}),
        ("0.001", {1: 1}),
    ],
)
def test_a_part_of_the_instances_is_rounded_up_exactly(quorum: str, counts: dict[int, int]) -> None:
    assert {count: Quorum.parse(quorum).of(count) for count in counts} == counts


@pytest.mark.parametrize(
    "text", ["0", "-1", "101", "nan", "inf", "most", "", "%", "1/2", "1e-999999999", "1e999999999"]
)
def test_what_is_no_part_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError, match=r"^--when-ready: expected all, or a percentage above 0, got "):
        Quorum.parse(text)


def test_once_enough_are_ready_the_others_are_not_waited_for(fleet: Fleet) -> None:
    for worker in "abc":
        fleet.live(worker)
    fleet.state("a", READY)
    fleet.state("b", READY)
    found = wait(fleet.bus, "50%")
    assert (found.enough, found.ready, found.needed, len(found.rows)) == (True, 2, 2, 3)


def test_with_nobody_live_it_ends_at_once(fleet: Fleet) -> None:
    fleet.live("a")
    fleet.state("a", READY)
    fleet.gone("a")
    found = wait(fleet.bus)
    assert (found.enough, found.rows, found.elsewhere) == (False, (), 0)


def test_in_a_scope_only_workers_there_count(fleet: Fleet) -> None:
    fleet.live("a", region="eu", tier="canary")
    fleet.live("b", region="us")
    fleet.state("a", READY)
    assert wait(fleet.bus, region="eu").enough
    nowhere = wait(fleet.bus, region="mars")
    assert (nowhere.enough, nowhere.rows, nowhere.elsewhere) == (False, (), 2)


def test_too_many_that_failed_end_it_although_others_are_on_their_way(fleet: Fleet) -> None:
    for worker in "abc":
        fleet.live(worker)
    fleet.state("a", REJECTED)
    fleet.state("b", FETCHING)
    found = wait(fleet.bus)
    assert (found.enough, found.failed) == (False, 1)
    few = wait(fleet.bus, "50%", timeout_s=0.1)
    assert (few.enough, few.hopeless) == (False, False), "two may yet become READY"
    fleet.state("c", FAILED)
    assert wait(fleet.bus, "50%").hopeless


class Waiting:
    """A wait in a thread of its own. `until` returns once it has looked and seen that."""

    def __init__(
        self, folder: Path, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch, quorum: str = "all"
    ) -> None:
        self._seen: list[Progress] = []
        self._bus = EmbeddedBus(folder / "bus")
        from publisher import ready  # noqa: PLC0415 - to look over its shoulder

        judge = ready._judge

        def judged(progress: Progress, *others: object) -> Readiness:
            self._seen.append(progress)
            return judge(progress, *others)  # type: ignore[arg-type]  # as it was called

        monkeypatch.setattr(ready, "_judge", judged)
        self._result: Future[Readiness] = pool.submit(wait, self._bus, quorum)

    def until(self, seen: Callable[[Progress], bool]) -> None:
        wait_until(lambda: self._result.done() or (self._seen and seen(self._seen[-1])))
        assert not self._result.done(), self._result.result()

    def end(self) -> Readiness:
        found = self._result.result(30)
        self._bus.close()
        return found


@pytest.fixture
def start(tmp_path: Path, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Waiting]:
    return lambda quorum="all": Waiting(tmp_path, pool, monkeypatch, quorum)


def test_what_failed_and_is_tried_again_is_waited_for(fleet: Fleet, start: Callable[..., Waiting]) -> None:
    fleet.live("a")
    fleet.say("a", FAILED, digest=DIGEST, error="no room", retry_at_ms=1)
    waiting = start()
    waiting.until(lambda seen: len(seen.failed) == 1)
    fleet.state("a", FETCHING)
    fleet.state("a", READY)
    assert waiting.end().enough


def test_why_an_instance_failed_is_still_known_while_it_is_tried_again(
    fleet: Fleet, start: Callable[..., Waiting]
) -> None:
    fleet.live("a")
    fleet.live("b")
    fleet.say("a", FAILED, digest=DIGEST, error="no room", retry_at_ms=1)
    waiting = start()
    waiting.until(lambda seen: len(seen.failed) == 1)
    fleet.state("a", FETCHING)
    fleet.state("b", REJECTED)
    found = waiting.end()
    assert (found.failed, found.retrying, found.hopeless) == (1, 1, True)
    assert [(status.state, status.error.message) for _, status in found.rows if status] == [
        (FAILED, "no room"),
        (REJECTED, ""),
    ]


def test_a_worker_that_comes_meanwhile_counts(fleet: Fleet, start: Callable[..., Waiting]) -> None:
    fleet.live("a")
    waiting = start()
    waiting.until(lambda seen: len(seen.rows) == 1)
    fleet.live("b")
    waiting.until(lambda seen: len(seen.rows) == 2)
    fleet.state("a", READY)
    waiting.until(lambda seen: len(seen.ready) == 1)
    fleet.state("b", READY)
    assert (waiting.end().needed, waiting.end().enough) == (2, True)


def test_a_worker_that_goes_meanwhile_counts_no_longer(fleet: Fleet, start: Callable[..., Waiting]) -> None:
    fleet.live("a")
    fleet.live("b")
    fleet.state("a", READY)
    waiting = start()
    waiting.until(lambda seen: len(seen.rows) == 2)
    fleet.gone("b")
    assert (waiting.end().needed, waiting.end().enough) == (1, True)


def test_a_worker_that_dies_without_a_word_counts_no_longer_once_it_is_not_seen_for_long(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen_ms = fleet.live("a")
    monkeypatch.setattr("serving.bus.embedded.log.clock_ms", lambda: seen_ms + LIVE_MS + 1)
    fleet.live("b")
    fleet.state("b", READY)
    monkeypatch.setattr("serving.bus.embedded.bus.clock_ms", lambda: seen_ms + LIVE_MS + 1)
    found = wait(fleet.bus)
    assert (found.enough, [worker.worker for worker, _ in found.rows]) == (True, ["b"])


def test_when_the_last_worker_goes_it_ends(fleet: Fleet, start: Callable[..., Waiting]) -> None:
    fleet.live("a")
    waiting = start()
    waiting.until(lambda seen: len(seen.rows) == 1)
    fleet.gone("a")
    assert (waiting.end().rows, waiting.end().enough) == ((), False)


def test_a_version_that_no_node_loads_is_not_waited_for(fleet: Fleet) -> None:
    fleet.tell(announcement("m", 2))
    fleet.live("a")
    found = wait(fleet.bus)
    assert (found.enough, found.unwanted) == (False, 1)
    fleet.state("a", READY)  # as what serves where the newest cannot be loaded
    assert wait(fleet.bus).enough


def test_a_newer_version_that_somebody_publishes_meanwhile_ends_it(fleet: Fleet, start: Callable[..., Waiting]) -> None:
    fleet.live("a")
    fleet.state("a", FETCHING)
    waiting = start()
    waiting.until(lambda seen: len(seen.rows) == 1)
    fleet.tell(announcement("m", 2, held=True))
    fleet.state("a", SUPERSEDED)
    assert (waiting.end().enough, waiting.end().unwanted) == (False, 1)


def test_a_version_that_somebody_retires_meanwhile_is_an_error(fleet: Fleet, start: Callable[..., Waiting]) -> None:
    fleet.live("a")
    waiting = start()
    waiting.until(lambda seen: len(seen.rows) == 1)
    fleet.tell(retirement("m", 1))
    fleet.state("a", UNLOADED)
    with pytest.raises(InvalidRequestError, match="version: expected one of m's that is not retired, got 1"):
        waiting.end()


@pytest.mark.parametrize("before", [SUPERSEDED, UNLOADED])
def test_what_a_worker_gave_up_before_it_is_wanted_again_is_waited_for(
    fleet: Fleet, start: Callable[..., Waiting], before: "status_pb2.InstanceState.ValueType"
) -> None:
    fleet.live("a")
    fleet.state("a", before)
    waiting = start()
    waiting.until(lambda seen: len(seen.rows) == 1)
    fleet.state("a", READY)
    assert waiting.end().enough


def test_what_serves_in_one_scope_is_loaded_ahead_for_the_next(fleet: Fleet) -> None:
    fleet.tell(rollout("m", 1, {1: MILLION}, scopes=[{"region": "eu"}]))
    fleet.live("a", region="us")
    found = wait(fleet.bus, timeout_s=0.1, region="us")
    assert (found.enough, found.unwanted) == (False, 0)
    fleet.state("a", READY)
    assert wait(fleet.bus, region="us").enough


def test_where_it_is_not_known_who_is_live_nothing_is_rolled_out(
    fleet: Fleet, bus: EmbeddedBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus, "now_ms", lambda: None)
    monkeypatch.setattr(read_status, "clock_ms", lambda: 1)
    fleet.live("a")
    fleet.state("a", READY)
    found = wait(bus, timeout_s=0.1)
    assert (found.enough, found.hopeless, found.sure, found.ready) == (False, False, False, 1)


def test_a_model_or_version_that_there_is_not_is_an_error(bus: EmbeddedBus) -> None:
    with pytest.raises(UserError, match=r"^model: expected an announced one \(none\), got 'm'"):
        wait(bus)
    bus.append(TOPICS.models.name, *announcement("m", 2))
    with pytest.raises(InvalidRequestError, match=r"^version: expected one of m's \(2\), got 1"):
        wait(bus)


def test_an_instance_that_goes_wrong_while_nothing_can_take_its_place_is_not_ready(fleet: Fleet, bus: Bus) -> None:
    fleet.live("a")
    fleet.live("b")
    fleet.state("a", READY)
    fleet.say("b", READY, digest=DIGEST, error="items: expected finite scores, got NaN")
    found = wait(bus)
    assert (found.ready, found.failed) == (1, 1)
