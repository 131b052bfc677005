"""What a version's runs cost, and in which order what is due is computed. Pure."""

from hypothesis import given
from hypothesis import strategies as st

from serving.models.pace import FIRST_ROWS
from serving.nearline.costs import Costs
from serving.nearline.urgency import BACKFILL, EVENT, MISSED, SCHEDULED, band_of, score
from serving.store.port import MAX_SCORE

VERSION = b"v"
BANDS = st.sampled_from([MISSED, *range(EVENT, EVENT + 10), SCHEDULED, BACKFILL])
TIMES = st.integers(0, (1 << 42) - 1)


def test_of_what_is_not_known_one_row_is_tried() -> None:
    costs = Costs()
    assert costs.fitting(VERSION, 1.0) == FIRST_ROWS
    costs.observe(VERSION, 10, 5.0)
    assert costs.fitting(VERSION, 1.0) == 0
    costs.forget(set())
    assert costs.fitting(VERSION, 1.0) == FIRST_ROWS


def test_as_many_rows_fit_as_the_time_allows_and_none_where_no_run_fits() -> None:
    costs = Costs()
    costs.observe(VERSION, 100, 1.0)
    assert [costs.fitting(VERSION, seconds) for seconds in (0.99, 1.0, 5.0)] == [0, 100, 500]
    assert costs.fitting(b"another", 0.0) == FIRST_ROWS


def test_a_first_run_that_was_slow_since_it_was_cold_is_soon_forgotten() -> None:
    costs = Costs()
    costs.observe(VERSION, 1, 0.02)
    runs = 0
    while (fitting := costs.fitting(VERSION, 0.1)) < 500:
        costs.observe(VERSION, fitting, 1e-4 + 1e-5 * fitting)
        runs += 1
    assert runs <= 5


def test_a_run_that_was_slow_once_is_forgotten_and_so_is_one_that_was_fast_once() -> None:
    costs = Costs()
    costs.observe(VERSION, 32, 10.0)
    costs.observe(VERSION, 32, 0.01)
    assert costs.fitting(VERSION, 0.1) > 0
    for _ in range(1000):
        costs.observe(VERSION, 32, 10.0)
    assert costs.fitting(VERSION, 0.1) == 0


@given(st.lists(st.tuples(st.integers(1, 1024), st.floats(0, 10)), min_size=1), st.floats(0, 10))
def test_more_time_never_fits_fewer_rows(runs: list[tuple[int, float]], seconds: float) -> None:
    costs = Costs()
    for rows, took in runs:
        costs.observe(VERSION, rows, took)
    assert 0 <= costs.fitting(VERSION, seconds) <= costs.fitting(VERSION, seconds * 2)


@given(BANDS, TIMES, BANDS, TIMES)
def test_the_reason_decides_and_then_who_was_active_last(one: int, then: int, other: int, later: int) -> None:
    first, second = score(one, then), score(other, later)
    assert (first < second) is ((one, -then) < (other, -later))
    assert (band_of(first), first <= MAX_SCORE) == (one, True)


@given(BANDS, st.integers(-(1 << 50), 1 << 50))
def test_a_clock_that_is_wrong_does_not_change_the_reason(band: int, active_ms: int) -> None:
    assert band_of(score(band, max(0, active_ms))) == band
