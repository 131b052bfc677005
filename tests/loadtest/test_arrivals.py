import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serving.loadtest.arrivals import arrivals, schedule
from serving.loadtest.picks import picks
from serving.loadtest.plan import Open, Surge

SECOND = 1_000_000_000


def made(rate: float, seconds: float, seed: int = 0) -> np.ndarray:
    begin = 17 * SECOND
    pieces = list(arrivals(rate, begin, begin + int(seconds * SECOND), seed))
    return np.concatenate(pieces) - begin if pieces else np.empty(0, np.int64)


@given(st.floats(1, 50_000), st.floats(0.01, 2), st.integers(0, 1000))
def test_instants_ascend_within_the_time_and_the_seed_decides(rate: float, seconds: float, seed: int) -> None:
    instants = made(rate, seconds, seed)
    assert np.all(np.diff(instants) >= 0)
    assert not len(instants) or 0 <= instants[0] <= instants[-1] < seconds * SECOND
    assert np.array_equal(instants, made(rate, seconds, seed))


def test_counts_of_equal_times_have_the_mean_and_the_variance_of_a_poisson_process() -> None:
    counts = np.bincount(made(2_000, 100, seed=3) // (SECOND // 10), minlength=1_000)
    assert abs(counts.mean() - 200) < 2
    assert 0.85 < counts.var() / counts.mean() < 1.15


def test_processes_of_other_seeds_are_independent() -> None:
    one, other = (np.bincount(made(2_000, 50, seed) // (SECOND // 10), minlength=500) for seed in (1, 2))
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.15


@given(st.integers(1, 20), st.integers(100, 2_000), st.integers(1, 3))
def test_bunches_are_due_at_equal_gaps_and_keep_the_rate_before_within_and_after_a_surge(
    bunch: int, rate: int, processes: int
) -> None:
    pacing = Open(rate, even=True, bunch=bunch, surges=[Surge(2 * rate, 2.0, 3.0)])
    made = [
        np.concatenate(list(schedule(pacing, 1 / processes, 0, 0, 5 * SECOND, seed=number)))
        for number in range(processes)
    ]
    due, counts = zip(*(np.unique(instants, return_counts=True) for instants in made), strict=True)
    assert all((each == bunch).all() for each in counts)
    calm = [np.diff(instants[instants < 2 * SECOND]) for instants in due]
    gap = SECOND * bunch * processes / rate
    assert all((abs(gaps - gap) <= 2).all() for gaps in calm)
    assert abs(sum(map(len, made)) - 6 * rate) <= 3 * bunch * processes


def test_an_even_choice_sends_every_request_as_often() -> None:
    requests = [b"%d" % number for number in range(100)]
    chosen = picks(requests, 0.0, 1)
    drawn = [next(chosen) for _ in range(1_000)]
    assert {drawn.count(request) for request in requests} == {10}


def test_zipfs_law_sends_the_first_requests_most_often() -> None:
    requests = [b"%d" % number for number in range(1_000)]
    chosen = picks(requests, 1.0, 1)
    drawn = [next(chosen) for _ in range(100_000)]
    first, tenth = drawn.count(b"0"), drawn.count(b"9")
    assert 8 < first / tenth < 12.5
    assert abs(first / 100_000 - 1 / sum(1 / n for n in range(1, 1_001))) < 0.01
