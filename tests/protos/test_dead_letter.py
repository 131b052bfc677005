"""Dead letters."""

from hypothesis import given
from hypothesis import strategies as st

from protos.dead_letter import DeadLetter


@given(
    st.builds(
        DeadLetter,
        st.text(),
        st.integers(0, 4096),
        st.integers(0, (1 << 63) - 1),
        st.text(),
        st.none() | st.binary(),
        st.none() | st.binary(),
    )
)
def test_a_dead_letter_comes_back_as_it_was(letter: DeadLetter) -> None:
    assert DeadLetter.decode(letter.encode()) == letter
