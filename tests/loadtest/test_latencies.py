import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serving.loadtest.latencies import Latencies

nanoseconds = st.lists(st.integers(1_000, 3_000_000_000_000), min_size=1, max_size=200)


def of(values: list[int]) -> Latencies:
    return Latencies.of(np.array(values, np.int64))


@given(nanoseconds, nanoseconds)
def test_parts_add_up_to_what_all_of_it_would_have_been(one: list[int], other: list[int]) -> None:
    merged, whole = Latencies.merge([of(one), of(other)]), of(one + other)
    assert merged.values.tolist() == whole.values.tolist()
    assert merged.counts.tolist() == whole.counts.tolist()
    assert merged.count == len(one) + len(other)


@given(nanoseconds)
def test_rounding_loses_less_than_a_thousandth(values: list[int]) -> None:
    exact = sorted(value // 1000 for value in values)
    kept = np.repeat(of(values).values, of(values).counts).tolist()
    assert all(got <= want <= got * 1.001 + 1 for got, want in zip(kept, exact, strict=True))


@given(nanoseconds)
def test_the_histogram_says_what_the_values_say(values: list[int]) -> None:
    histogram = of(values).histogram()
    assert histogram.get_total_count() == len(values)
    for percentile in (1, 50, 90, 99, 100):
        rank = max(1, int(percentile / 100 * len(values) + 0.5))  # as HdrHistogram rounds
        exact = sorted(values)[rank - 1] // 1000
        assert abs(histogram.get_value_at_percentile(percentile) - exact) <= exact * 0.003 + 1


def test_nothing_adds_up_to_nothing() -> None:
    assert Latencies.merge([]).count == Latencies.merge([Latencies()]).count == of([]).count == 0
    assert Latencies().histogram().get_value_at_percentile(99) == 0


def test_what_is_shorter_than_a_microsecond_or_longer_than_an_hour_is_counted_at_the_edge() -> None:
    latencies = of([0, 5 * 3_600 * 10**9])
    assert latencies.count == 2
    assert latencies.values[0] == 1
    assert latencies.values[1] > 3_590_000_000
