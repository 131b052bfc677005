"""When a request is answered, by the work of all versions and by what a second of the clock gets done."""

import pytest

from serving.recommend.backlog import Backlog


def backlog(*works_s: float) -> Backlog:
    """One with so much work of each version."""
    made = Backlog()
    made.work_s, made.queues = sum(works_s), len(works_s)
    return made


def test_alone_a_version_waits_for_its_own_work() -> None:
    assert backlog(0.5).wait_s(0.5) == pytest.approx(0.5)


def test_of_each_other_version_as_much_comes_before_as_of_its_own_at_most() -> None:
    assert backlog(0.5, 10.0, 10.0).wait_s(0.5) == pytest.approx(1.5)
    assert backlog(0.5, 0.1).wait_s(0.5) == pytest.approx(0.6)


def test_a_core_that_others_use_makes_all_wait_longer_until_that_is_over() -> None:
    made, now = backlog(0.5), 100.0
    made.begin(now)
    for _ in range(20):
        made.done(0.1, now := now + 0.4)
    assert made.wait_s(0.5) == pytest.approx(2.0, rel=0.05)
    for _ in range(40):
        made.done(0.1, now := now + 0.1)
    assert made.wait_s(0.5) == pytest.approx(0.5, rel=0.05)


def test_time_without_work_says_nothing() -> None:
    made = backlog(0.5)
    made.begin(0.0)
    made.done(0.1, 0.1)
    made.begin(1000.0)
    made.done(0.1, 1000.1)
    assert made.speed == pytest.approx(1.0)


def test_more_cores_make_no_single_version_faster() -> None:
    made, now = backlog(0.5, 0.5), 0.0
    made.begin(now)
    for _ in range(20):
        made.done(0.4, now := now + 0.2)
    assert made.speed == pytest.approx(2.0, rel=0.05)
    assert made.wait_s(0.5) == pytest.approx(0.5, rel=0.05)


def test_a_loop_that_comes_late_counts_twice_and_is_forgotten_when_it_does_not() -> None:
    backlog = Backlog()
    before = backlog.wait_s(0.1)
    for _ in range(50):
        backlog.heard(0.2)
    assert backlog.wait_s(0.1) == pytest.approx(before + 2 * 0.2, rel=1e-3)
    for _ in range(50):
        backlog.heard(0.0)
    assert backlog.wait_s(0.1) == pytest.approx(before, rel=1e-3)
