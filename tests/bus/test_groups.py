"""What serving/bus/port.py promises of the members of a group, of every implementation."""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator

import pytest

from serving.bus.embedded.bus import EmbeddedBus
from serving.bus.port import Bus
from serving.errors import InvalidRequestError
from tests.bus.conftest import Actor, line
from tests.bus.harness import WAIT_S, Harness, fill, flat, until, values
from tests.bus.watched import Store, Watched

Join = Callable[..., Watched]

_PATIENCE_S = 10 * WAIT_S


@pytest.fixture
def patient(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """No member is taken for dead because this machine is busy: only who leaves the group is out of it."""
    monkeypatch.setattr("serving.bus.kafka.clients.SESSION_S", _PATIENCE_S)
    monkeypatch.setattr("serving.bus.kafka.member._LEAVE_MS", int(WAIT_S * 1000))
    if isinstance(bus, EmbeddedBus):
        monkeypatch.setattr(bus, "_lease_s", _PATIENCE_S)


@pytest.fixture
def join(bus: Bus, wide: str, patient: None) -> Iterator[Join]:
    """Join the group of the test."""
    del patient
    joined: list[Watched] = []

    def make(group: str = "group", starts: dict[int, int | None] | None = None, store: Store | None = None) -> Watched:
        # A group's name is its own as the topic's is: groups of one broker are shared by all tests.
        joined.append(Watched(bus, f"{group}-{wide}", wide, starts, store))
        return joined[-1]

    yield make
    for watched in joined:
        watched.member.close()


def _poll(*members: Watched) -> None:
    for watched in members:
        watched.poll()


def _settle(*members: Watched, doing: Callable[[], object] = lambda: None) -> None:
    """Poll all in turn until each of the four partitions is owned by exactly one, and each member has a share."""

    def settled() -> bool:
        shares = [watched.owned for watched in members]
        return set().union(*shares) == {0, 1, 2, 3} and sum(map(len, shares)) == 4 and all(shares)

    def poll() -> None:
        doing()
        _poll(*members)

    until(settled, poll)


def test_one_member_reads_every_partition_from_the_start(bus: Bus, wide: str, join: Join) -> None:
    bus.append_many(wide, [(b"%d" % number, b"%d" % number) for number in range(40)])
    only = join()
    _settle(only)
    until(lambda: len(only.found) == 40, only.poll)
    assert {value for _, value in only.found} == {b"%d" % number for number in range(40)}
    assert sorted(only.asked) == [0, 1, 2, 3]


def test_two_members_share_the_partitions_and_read_each_record_once(bus: Bus, wide: str, join: Join) -> None:
    one, two = join(), join()
    _settle(one, two)
    assert len(one.owned) == len(two.owned) == 2
    bus.append_many(wide, [(b"%d" % number, b"%d" % number) for number in range(40)])
    until(lambda: len(one.found) + len(two.found) >= 40, lambda: _poll(one, two))
    assert {partition for partition, _ in one.found} <= one.owned
    assert {partition for partition, _ in two.found} <= two.owned
    assert sorted(int(value or b"") for _, value in one.found + two.found) == list(range(40))


def test_a_member_that_joins_takes_a_share_and_one_that_leaves_gives_it_back(join: Join) -> None:
    one = join()
    _settle(one)
    two = join()
    _settle(one, two)
    kept = set(one.owned)
    assert len(kept) == 2
    assert sorted(one.asked) == [0, 1, 2, 3], "what it kept was not taken away in between"
    two.member.close()
    assert two.owned == set(), "revoked was called"
    _settle(one)  # it left at once: what it had would be its own for longer than anybody waits here
    assert kept < one.owned


def test_members_that_come_and_go_in_mid_load_lose_nothing_and_read_nothing_twice(
    bus: Bus, wide: str, join: Join
) -> None:
    store, appended = Store(), list[bytes]()

    def load() -> None:
        appended.append(b"%d" % len(appended))
        for partition in range(4):
            bus.append(wide, b"key", appended[-1], partition=partition)

    one = join(store=store)
    _settle(one, doing=load)
    two = join(store=store)
    _settle(one, two, doing=load)
    assert sorted(one.asked) == [0, 1, 2, 3], "what it kept was not taken away in between"
    three = join(store=store)
    _settle(one, two, three, doing=load)
    two.member.close()
    _settle(one, three, doing=load)
    until(lambda: all(len(store.found[p]) >= len(appended) for p in range(4)), lambda: _poll(one, three))
    assert store.found == dict.fromkeys(range(4), appended)


def test_what_a_member_keeps_it_reads_on_while_another_is_slow_to_take_part_in_a_rebalance(
    harness: Harness, bus: Bus, wide: str, join: Join
) -> None:
    one, slow = join(), join()
    _settle(one, slow)
    mine = sorted(one.owned)
    late = join()
    until(lambda: harness.is_joining(one.member), lambda: _poll(one, late))
    for number in range(20):
        for partition in mine:
            bus.append(wide, b"key", b"%d" % number, partition=partition)
    until(lambda: len(one.found) == 40, lambda: _poll(one, late))
    assert harness.is_joining(one.member), "all that was while it waited"
    assert set(mine) >= one.owned
    _settle(one, slow, late)


def test_a_member_that_only_gives_heartbeats_stays_in_the_group_and_reads_nothing(
    bus: Bus, wide: str, join: Join
) -> None:
    full = join()
    _settle(full)
    appended = [bus.append(wide, b"key", b"value", partition=p).offset for p in range(4)]
    other = join()

    def beat() -> None:
        full.member.heartbeat()
        other.poll()

    until(lambda: len(full.owned) == len(other.owned) == 2, beat)
    assert full.found == []
    assert [full.member.position(p) for p in full.owned] == [appended[p] for p in full.owned]
    other.member.close()
    until(lambda: len(full.owned) == 4, full.member.heartbeat)
    assert full.found == []
    until(lambda: {partition for partition, _ in full.found} == {0, 1, 2, 3}, full.poll)


def test_the_position_of_a_member_is_the_next_record(bus: Bus, wide: str, join: Join) -> None:
    appended = fill(bus, wide)
    only = join(starts={p: appended[p][1] for p in range(4)})
    with pytest.raises(InvalidRequestError, match=r"partition: expected one of .* that is assigned, got 3"):
        only.member.position(3)
    until(lambda: len(only.owned) == 4, only.member.heartbeat)
    assert [only.member.position(p) for p in range(4)] == [appended[p][1] for p in range(4)]
    until(lambda: len(only.found) == 12, only.poll)
    assert all(appended[p][3] < only.member.position(p) <= bus.end_offsets(wide)[p] for p in range(4))
    only.member.seek(2, appended[2][3])
    assert only.member.position(2) == appended[2][3]


def test_groups_do_not_share_with_each_other(bus: Bus, wide: str, join: Join) -> None:
    one, two = join("one"), join("two")
    _settle(one)
    _settle(two)
    bus.append_many(wide, [(b"%d" % number, b"") for number in range(10)])
    until(lambda: (len(one.found), len(two.found)) == (10, 10), lambda: _poll(one, two))


def test_a_member_starts_where_it_says(bus: Bus, wide: str, join: Join) -> None:
    appended = {p: [bus.append(wide, b"key", b"%d" % n, partition=p).offset for n in range(4)] for p in range(4)}
    only = join(starts={0: appended[0][3], 1: appended[1][1], 2: bus.end_offsets(wide)[2]})
    until(lambda: len(only.found) == 8, only.poll)
    only.poll(0.3)
    by_partition = defaultdict(list)
    for partition, value in only.found:
        by_partition[partition].append(value)
    assert by_partition == {0: [b"3"], 1: [b"1", b"2", b"3"], 3: [b"0", b"1", b"2", b"3"]}


def test_a_member_that_does_not_say_starts_at_the_committed_offset(bus: Bus, wide: str, join: Join) -> None:
    appended = {p: [bus.append(wide, b"key", b"%d" % n, partition=p).offset for n in range(4)] for p in range(4)}
    first = join()
    until(lambda: len(first.found) == 16, first.poll)
    first.member.commit({0: appended[0][3], 1: appended[1][3] + 1})
    first.member.close()
    second = join()
    until(lambda: len(second.found) == 9, second.poll)
    second.poll(0.3)
    by_partition = defaultdict(list)
    for partition, value in second.found:
        by_partition[partition].append(value)
    assert by_partition == {0: [b"3"], 2: [b"0", b"1", b"2", b"3"], 3: [b"0", b"1", b"2", b"3"]}


def test_a_member_seeks_in_what_it_owns(bus: Bus, wide: str, join: Join) -> None:
    appended = [bus.append(wide, b"key", b"%d" % number, partition=1).offset for number in range(4)]
    only = join()
    until(lambda: len(only.found) == 4, only.poll)
    only.member.seek(1, appended[2])
    until(lambda: len(only.found) == 6, only.poll)
    assert only.found[4:] == [(1, b"2"), (1, b"3")]


@pytest.mark.usefixtures("patient")
def test_an_error_of_assigned_leaves_the_poll_and_it_is_asked_again(bus: Bus, wide: str) -> None:
    bus.append(wide, b"key", b"value", partition=3)
    refusals = [OSError("the store is away")] * 2
    found: list[bytes | None] = []

    def assigned(partition: int) -> None:
        if partition == 3 and refusals:
            raise refusals.pop()

    member = bus.member(f"group-{wide}", wide, assigned, lambda _: None)
    try:
        for _ in range(2):
            with pytest.raises(OSError, match="the store is away"):
                until(lambda: bool(member.poll(0.05)))
        until(lambda: found == [b"value"], lambda: found.extend(values(flat(member.poll(0.05)))))
    finally:
        member.close()


def test_the_partitions_of_a_killed_member_go_to_the_other(
    harness: Harness, bus: Bus, wide: str, start_actor: Callable[..., Actor]
) -> None:
    actor = start_actor(harness, "member", wide, f"group-{wide}")
    one = Watched(bus, f"group-{wide}", wide)
    said: list[str] = []
    listener = threading.Thread(target=lambda: said.append(line(actor)))
    listener.start()
    until(lambda: len(one.owned) == 2 and said, one.poll)
    listener.join()
    assert said[0].startswith("assigned ")
    actor.kill()
    bus.append_many(wide, [(b"%d" % number, b"%d" % number) for number in range(40)])
    expected = {b"%d" % number for number in range(40)}
    until(lambda: one.owned == {0, 1, 2, 3} and {value for _, value in one.found} == expected, one.poll)
    one.member.close()


@pytest.mark.usefixtures("patient")
def test_a_closed_member_is_told_of_everything_it_loses(bus: Bus, wide: str) -> None:
    revoked: list[int] = []
    asked: list[int] = []
    member = bus.member(f"group-{wide}", wide, asked.append, revoked.append)
    until(lambda: len(asked) == 4, lambda: member.poll(0.05))
    assert revoked == []
    member.close()
    assert sorted(revoked) == [0, 1, 2, 3]
