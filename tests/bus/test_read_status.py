"""Who is live, whatever this machine's clock says."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from protos import status_view
from protos.nearline.v1 import status_pb2
from protos.status_view import LIVE_MS
from protos.topics import presence_key
from serving.bus import read_status as module
from serving.bus.embedded.bus import EmbeddedBus
from serving.bus.read_status import StatusReader, clock_ms, read_fleet, read_status
from tests.builders.buses import TOPICS
from tests.builders.fleet import beating

TOPIC = TOPICS.status.name
HOUR_MS = 3_600_000


class Silent(EmbeddedBus):
    """One whose clock cannot be asked, as that of a broker."""

    def now_ms(self) -> None:  # type: ignore[override]  # what the port allows
        return


def presence(worker: str) -> status_pb2.Presence:
    return status_pb2.Presence(node="n", worker=worker, incarnation=worker)


def beat(bus: EmbeddedBus, worker: str) -> None:
    record = status_pb2.StatusRecord(presence=presence(worker))
    bus.append(TOPIC, presence_key("n", worker), record.SerializeToString())


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[EmbeddedBus]:
    opened = Silent(tmp_path / "bus")
    opened.ensure_topics(TOPICS.all())
    yield opened
    opened.close()


@pytest.fixture
def skewed(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> int:
    """This machine's clock is so many milliseconds ahead of the bus's."""
    ahead_ms: int = request.param
    monkeypatch.setattr(module, "clock_ms", lambda: clock_ms() + ahead_ms)
    return ahead_ms


def names(bus: EmbeddedBus) -> list[str]:
    return [worker.worker for worker in read_fleet(bus, TOPIC).live]


@pytest.mark.parametrize("skewed", [-HOUR_MS, -LIVE_MS + 1000, 0, LIVE_MS - 1000, HOUR_MS], indirect=True)
@pytest.mark.usefixtures("skewed")
def test_live_workers_are_seen_by_a_clock_that_is_wrong(bus: EmbeddedBus, tmp_path: Path) -> None:
    with beating(lambda: EmbeddedBus(tmp_path / "bus"), TOPIC, presence("b"), presence("a")):
        assert names(bus) == ["a", "b"]


@pytest.mark.parametrize("skewed", [-HOUR_MS, HOUR_MS], indirect=True)
def test_workers_that_are_gone_are_gone_by_a_clock_that_is_wrong(
    bus: EmbeddedBus, monkeypatch: pytest.MonkeyPatch, skewed: int
) -> None:
    assert skewed
    for where in (module, status_view):
        monkeypatch.setattr(where, "LIVE_MS", 300)  # so long is listened
    beat(bus, "a")
    assert names(bus) == []


def test_who_was_not_heard_while_another_was_is_gone(bus: EmbeddedBus, monkeypatch: pytest.MonkeyPatch) -> None:
    stamped = iter([1_000_000, 1_000_000 + LIVE_MS + 1])
    monkeypatch.setattr("serving.bus.embedded.log.clock_ms", lambda: next(stamped))
    monkeypatch.setattr(module, "clock_ms", lambda: 1_000_000 + LIVE_MS + 1)
    beat(bus, "a")
    beat(bus, "b")
    assert names(bus) == ["b"]


def test_a_bus_that_tells_its_time_is_believed_at_once(tmp_path: Path) -> None:
    bus = EmbeddedBus(tmp_path / "bus")
    bus.ensure_topics(TOPICS.all())
    before = clock_ms()
    now_ms = bus.now_ms()
    beat(bus, "a")
    assert before <= now_ms <= clock_ms()
    assert names(bus) == ["a"]
    bus.close()


def test_who_has_just_been_told_the_time_need_not_listen(bus: EmbeddedBus) -> None:
    beat(bus, "a")
    told_ms = bus.append(TOPIC, b"n/@clock", None).timestamp_ms
    reader = StatusReader(bus, TOPIC, told_ms + LIVE_MS + 1)
    while not reader.is_whole:
        reader.poll()
    assert reader.is_sure()
    assert reader.live() == ()
    reader.close()


def test_an_empty_topic_is_read_at_once(bus: EmbeddedBus) -> None:
    assert read_status(bus, TOPIC).presences() == []
    assert names(bus) == []
