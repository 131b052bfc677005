"""What is special to the embedded bus: processes that die in it, and the wall clock that its leases go by."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from protos.topics import Kept, TopicSpec
from serving.bus.embedded.bus import EmbeddedBus
from serving.bus.embedded.leases import GroupLeases
from serving.errors import BusUnavailableError
from tests.bus.conftest import Actor
from tests.bus.harness import EmbeddedHarness, flat, read_all, topic, until, values


class Clock:
    """The wall clock of this process, as a test sets it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = time.time()
        monkeypatch.setattr(time, "time", lambda: self.now)
        monkeypatch.setattr(time, "time_ns", lambda: int(self.now * 1e9))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def _bus(path: Path, spec: TopicSpec) -> EmbeddedBus:
    bus = EmbeddedBus(path)
    bus.ensure_topics([spec])
    return bus


def test_what_a_killed_appender_said_is_durable_is_there(tmp_path: Path, start_actor: Callable[..., Actor]) -> None:
    harness = EmbeddedHarness(tmp_path)
    bus, spec = harness.connect(), topic()
    bus.ensure_topics([spec])
    for _ in range(3):
        # What a process committed and was killed before it told the readers of (LMDB), they see after the next write.
        bus.append(spec.name, b"key", b"next")
        before = len(read_all(bus, spec.name))
        actor = start_actor(harness, "append_for_ever", spec.name)
        assert actor.stdout is not None
        said = [actor.stdout.readline() for _ in range(50)]
        actor.kill()
        said += actor.stdout.readlines()  # `communicate` would lose what is buffered
        actor.wait()
        found = values(read_all(bus, spec.name))[before:]
        durable = [line.strip().encode() for line in said if line.strip()]
        assert found[: len(durable)] == durable
        assert len(found) - len(durable) <= 1, "at most one was durable before it could be said"
    bus.append(spec.name, b"key", b"goes on")
    harness.close()


def test_nothing_is_opened_before_the_first_use(tmp_path: Path) -> None:
    EmbeddedBus(tmp_path / "bus").close()
    assert not (tmp_path / "bus").exists()


def test_a_path_that_is_a_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "bus").write_text("")
    with pytest.raises(BusUnavailableError, match=str(tmp_path / "bus")):
        EmbeddedBus(tmp_path / "bus").partitions("topic")


def test_append_times_do_not_fall_when_the_clock_does(tmp_path: Path, clock: Clock) -> None:
    spec = topic()
    bus = _bus(tmp_path, spec)
    first = bus.append(spec.name, b"key", b"")
    clock.now -= 3600
    second = bus.append(spec.name, b"key", b"")
    assert second.timestamp_ms == first.timestamp_ms
    clock.now += 7200
    assert bus.append(spec.name, b"key", b"").timestamp_ms > first.timestamp_ms
    bus.close()


def test_records_kept_by_time_go_when_others_come(tmp_path: Path, clock: Clock) -> None:
    spec = topic(Kept.BY_TIME, retention_s=60)
    bus = _bus(tmp_path, spec)
    bus.append_many(spec.name, [(b"key", b"old")] * 5)
    clock.now += 61
    bus.append(spec.name, b"key", b"new")
    assert values(read_all(bus, spec.name)) == [b"new"]
    bus.close()


def test_an_append_of_many_is_all_or_nothing(tmp_path: Path) -> None:
    spec = topic()
    bus = _bus(tmp_path, spec)
    with pytest.raises(TypeError):
        bus.append_many(spec.name, [(b"key", b"good"), (b"key", object())])  # type: ignore[list-item]  # on purpose
    assert read_all(bus, spec.name) == []
    bus.close()


def test_a_reader_sees_what_another_bus_appended_meanwhile(tmp_path: Path) -> None:
    spec = topic()
    bus = _bus(tmp_path, spec)
    reader = bus.reader(spec.name)
    bus.close()
    other = EmbeddedBus(tmp_path)
    other.append(spec.name, b"key", b"value")
    assert values(flat(reader.poll(1.0))) == [b"value"]
    reader.close()
    reader.close()
    other.close()


# Leases


def _leases(path: Path, member: str, lease_s: float = 3.0) -> GroupLeases:
    return GroupLeases(path, "group", "topic", 4, member, lease_s)


def test_a_lease_that_was_not_renewed_is_over(tmp_path: Path, clock: Clock) -> None:
    one, two = _leases(tmp_path, "one"), _leases(tmp_path, "two")
    assert one.renew(set()) == {0, 1, 2, 3}
    assert two.renew(set()) == set(), "they are another's still"
    clock.now += 3.1
    assert two.renew(set()) == {0, 1, 2, 3}
    assert one.renew({0, 1, 2, 3}) == set(), "who comes back late owns nothing, and is told so"
    one.close()
    two.close()


def test_a_lease_does_not_last_for_ever_when_the_clock_steps_back(tmp_path: Path, clock: Clock) -> None:
    one, two = _leases(tmp_path, "one"), _leases(tmp_path, "two")
    assert one.renew(set()) == {0, 1, 2, 3}
    clock.now -= 3600  # and `one` was killed
    assert two.renew(set()) == {0, 1, 2, 3}
    one.close()
    two.close()


@pytest.mark.usefixtures("clock")  # it stands still: no lease ends
def test_a_partition_moves_only_after_its_owner_let_it_go(tmp_path: Path) -> None:
    one, two = _leases(tmp_path, "one"), _leases(tmp_path, "two")
    owned = one.renew(set())
    assert two.renew(set()) == set()
    release = one.to_release(owned)
    assert len(release) == 2
    assert two.renew(set()) == set()
    assert one.renew(owned - release) == owned - release
    assert two.renew(set()) == release
    one.close()
    two.close()


def test_a_member_that_stopped_polling_too_long_is_told_that_it_lost_its_partitions(
    tmp_path: Path, clock: Clock
) -> None:
    spec = topic(partitions=4)
    bus = _bus(tmp_path, spec)
    revoked: list[int] = []
    slow = bus.member("group", spec.name, lambda _: None, revoked.append)
    slow.poll(0.0)
    asked: list[int] = []
    quick = bus.member("group", spec.name, asked.append, lambda _: None)
    clock.now += 10
    quick.poll(0.0)
    assert asked == [0, 1, 2, 3]
    until(lambda: sorted(revoked) == [0, 1, 2, 3], lambda: slow.poll(0.1))
    slow.close()
    quick.close()
    bus.close()
