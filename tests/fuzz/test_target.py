"""The fuzzer's target without the fuzzer: its seeds, changes of them, and what it found."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.seeds import seeds
from tests.fuzz.target import check

SEEDS = seeds()


@pytest.mark.parametrize("seed", SEEDS, ids=range(len(SEEDS)))
def test_a_seed_breaks_nothing(seed: bytes) -> None:
    check(seed)


@given(seed=st.sampled_from(SEEDS), at=st.integers(0, 400), cut=st.integers(0, 12), put=st.binary(max_size=16))
def test_a_seed_with_other_bytes_somewhere_breaks_nothing(seed: bytes, at: int, cut: int, put: bytes) -> None:
    check(seed[:at] + put + seed[at + cut :])


@given(data=st.binary(max_size=300))
def test_any_bytes_break_nothing(data: bytes) -> None:
    check(data)
