"""Sketches: deterministic, mergeable, and within their own error."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from serving.bundles.kll_bytes import K
from serving.bundles.sketches import Categories, Numbers

RANKS = tuple(np.linspace(0.02, 0.98, 25))
SIZES = st.sampled_from([0, 1, 2, K - 1, K, K + 1, 2 * K, 2 * K + 1, 1234, 20_000])


def numbers(seed: int, size: int) -> NDArray[np.float64]:
    """Some of them many times, some far away."""
    rng = np.random.default_rng(seed)
    return np.round(rng.standard_cauchy(size), 1)


def furthest(sketch: Numbers, values: NDArray[np.float64]) -> float:
    """By how much the ranks of its quantiles are off at most, as a part of 1."""
    ordered = np.sort(values)
    found = sketch.at(*RANKS)
    first = np.searchsorted(ordered, found, "left") / len(values)
    last = np.searchsorted(ordered, found, "right") / len(values)
    return float(np.maximum(np.maximum(first - RANKS, RANKS - last), 0).max())


@pytest.mark.parametrize("size", [1, 2, K, K + 1, 2 * K, 2 * K + 1, 999, 65_537, 300_000])
def test_quantiles_are_within_half_a_percent_and_the_ends_are_exact(size: int) -> None:
    values = numbers(size, size)
    sketch = Numbers.of(values)
    assert sketch.count == size
    assert sketch.at(0, 1) == [values.min(), values.max()]
    assert furthest(sketch, values) <= max(0.005, 1 / size)


@given(st.integers(0, 2**32 - 1), SIZES)
def test_the_same_numbers_in_another_order_are_the_same_bytes(seed: int, size: int) -> None:
    values = numbers(seed, size)
    values[: size // 10] *= 0  # of both signs
    shuffled = np.random.default_rng(seed).permutation(values)
    assert Numbers.of(shuffled).encode() == Numbers.of(values).encode()


@given(st.integers(0, 2**32 - 1), SIZES)
def test_numbers_come_back_as_they_were(seed: int, size: int) -> None:
    sketch = Numbers.of(numbers(seed, size))
    again = Numbers.decode(sketch.encode())
    assert again.encode() == sketch.encode()
    assert (again.count, again.at(*RANKS)) == (size, sketch.at(*RANKS))


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1), st.lists(SIZES, min_size=2, max_size=4))
def test_merged_parts_of_numbers_are_the_whole_within_the_error(seed: int, sizes: list[int]) -> None:
    whole = numbers(seed, sum(sizes))
    parts = [Numbers.of(part) for part in np.split(whole, np.cumsum(sizes)[:-1])]
    merged = parts[0]
    for part in parts[1:]:
        merged = merged.merged(part)
    assert merged.count == len(whole)
    assert parts[0].count == sizes[0], "merging leaves the parts alone"
    if len(whole):
        assert merged.at(0, 1) == [whole.min(), whole.max()]
        # Twice: the bound holds with 99 % for one rank, and this looks at many of many sketches.
        assert furthest(merged, whole) <= 2 * merged.rank_error + 1 / len(whole)


WORDS = st.dictionaries(st.text(min_size=1, max_size=5), st.integers(1, 1000), max_size=50)


@given(WORDS, st.randoms(use_true_random=False))
def test_the_same_categories_in_another_order_are_the_same_bytes(counts: dict[str, int], random: object) -> None:
    shuffled = list(counts.items())
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert Categories.of(dict(shuffled)).encode() == Categories.of(counts).encode()


@given(WORDS, WORDS)
def test_merged_parts_of_few_categories_are_exactly_the_whole(one: dict[str, int], two: dict[str, int]) -> None:
    merged = Categories.of(one).merged(Categories.of(two))
    whole = Counter(one) + Counter(two)
    assert merged.count == whole.total()
    assert dict(merged.top(1000)) == dict(whole)
    assert abs(merged.distinct[0] - len(whole)) <= 5, "two words may share their few bits"
    assert Categories.decode(merged.encode()).top(1000) == merged.top(1000)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1000, 20_000))
def test_merged_parts_of_many_categories_are_the_whole_within_the_error(seed: int, size: int) -> None:
    words = np.random.default_rng(seed).zipf(1.2, size).astype(str)
    whole = Counter(words.tolist())
    half = size // 2
    merged = Categories.of(Counter(words[:half].tolist())).merged(Categories.of(Counter(words[half:].tolist())))
    assert merged.count == size
    for word, count in whole.most_common(20):
        low, high = merged.bounds(word)
        assert low <= count <= high
        assert high - low <= 2 * merged.count_error
    _, low_distinct, high_distinct = merged.distinct
    # Three standard errors, twice: this looks at many sketches.
    assert low_distinct * 0.95 <= len(whole) <= high_distinct * 1.05


def test_the_most_frequent_ones_are_exact_among_very_many() -> None:
    sketch = Categories.of({f"w{at}": 1_000_000 // (at + 1) for at in range(50_000)})
    assert sketch.top(3) == [("w0", 1_000_000), ("w1", 500_000), ("w2", 333_333)]


def test_nothing_has_no_quantiles() -> None:
    assert Numbers.of(np.empty(0)).at(0, 0.5, 1) == []
    assert Categories.of({}).top(3) == []
