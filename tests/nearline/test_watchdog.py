"""The lag watchdog: which partitions a consumer has stopped reading."""

from hypothesis import given
from hypothesis import strategies as st

from serving.nearline.watchdog import Watchdog

STALL_S = 10.0


def test_a_partition_whose_end_is_ahead_and_whose_position_stays_has_stalled() -> None:
    watchdog = Watchdog(STALL_S)
    assert watchdog.stalled(0, {0: 5, 1: 5}, {0: 5, 1: 5}) == []
    assert watchdog.stalled(100, {0: 6, 1: 6}, {0: 5, 1: 6}) == [], "it may have come just now"
    assert watchdog.stalled(110, {0: 9, 1: 9}, {0: 5, 1: 8}) == []
    assert watchdog.stalled(110.5, {0: 9, 1: 9}, {0: 5, 1: 8}) == [0]


def test_a_backlog_that_does_not_grow_counts_too() -> None:
    watchdog = Watchdog(STALL_S)
    assert [watchdog.stalled(now, {0: 9}, {0: 5}) for now in (0, 11)] == [[], [0]]


def test_a_quiet_topic_and_a_busy_consumer_have_not_stalled() -> None:
    watchdog = Watchdog(STALL_S)
    for now in range(0, 1000, 7):
        assert watchdog.stalled(now, {0: 5, 1: 2 * now + 1}, {0: 5, 1: now}) == []


def test_one_that_stays_though_it_was_named_is_named_ever_more_rarely_until_it_moves() -> None:
    watchdog = Watchdog(STALL_S)
    named = [now for now in range(200) if watchdog.stalled(now, {0: 9}, {0: 5})]
    assert named == [11, 32, 73, 154]
    named = [now for now in range(200, 300) if watchdog.stalled(now, {0: 9}, {0: 6})]
    assert named[0] == 211


def test_a_consumer_that_is_made_anew_gets_its_time_and_not_a_clean_slate() -> None:
    watchdog = Watchdog(STALL_S)
    assert [now for now in range(12) if watchdog.stalled(now, {0: 9}, {0: 5})] == [11]
    assert watchdog.stalled(12, {0: 9}, {}) == [], "nothing is assigned yet"
    assert [now for now in range(13, 40) if watchdog.stalled(now, {0: 9}, {0: 5})] == [34]


def test_what_was_paused_is_not_blamed() -> None:
    watchdog = Watchdog(STALL_S)
    for now in range(0, 100, 8):
        assert watchdog.stalled(now, {0: 9}, {0: 5}) == []
        watchdog.pause()


def test_without_an_end_nothing_is_known() -> None:
    watchdog = Watchdog(STALL_S)
    assert watchdog.stalled(0, {0: 9}, {0: 5}) == []
    assert watchdog.stalled(20, {}, {0: 5}) == []
    assert watchdog.stalled(25, {0: 9}, {0: 5}) == []
    assert watchdog.stalled(36, {0: 9}, {0: 5}) == [0]


Look = tuple[float, dict[int, int], dict[int, int]]
STATE = st.dictionaries(st.integers(0, 3), st.integers(0, 3))


@st.composite
def looks(draw: st.DrawFn) -> list[Look]:
    steps = draw(st.lists(st.tuples(st.floats(0.01, 8), STATE, STATE), max_size=30))
    now, taken = 0.0, []
    for step, ends, positions in steps:
        now += step
        taken.append((now, ends, positions))
    return taken


def _named(taken: list[Look]) -> list[tuple[float, int]]:
    watchdog = Watchdog(STALL_S)
    return [(now, partition) for now, ends, positions in taken for partition in watchdog.stalled(now, ends, positions)]


@given(looks())
def test_whoever_is_named_was_behind_at_one_position_for_longer_than_the_time(taken: list[Look]) -> None:
    for named, partition in _named(taken):
        since = named
        place = next(positions for now, _, positions in taken if now == named and partition in positions)[partition]
        for now, ends, positions in reversed([look for look in taken if look[0] <= named]):
            if positions.get(partition) != place or ends.get(partition, -1) <= place:
                break
            since = now
        assert named - since > STALL_S


@given(looks())
def test_partitions_do_not_touch_one_another(taken: list[Look]) -> None:
    alone = [
        _named([(now, {p: e for p, e in ends.items() if p == only}, positions) for now, ends, positions in taken])
        for only in range(4)
    ]
    assert sorted(_named(taken)) == sorted(named for one in alone for named in one)


@given(st.lists(st.floats(0.1, 5), min_size=1, max_size=50))
def test_whoever_stays_behind_is_named_at_the_first_look_after_the_time(steps: list[float]) -> None:
    times = [sum(steps[:count]) for count in range(len(steps) + 1)]
    named = _named([(now, {0: 9 + index}, {0: 5}) for index, now in enumerate(times)])
    late = [now for now in times if now > STALL_S]
    assert [now for now, _ in named[:1]] == late[:1]
