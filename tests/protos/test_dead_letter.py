"""Dead letters, and the marks of those that were appended once more."""

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protos.dead_letter import (
    KEPT_BYTES,
    KEPT_KEY_BYTES,
    DeadLetter,
    InvalidDeadLetterError,
    Retried,
    decode_entry,
)


@given(
    st.builds(
        DeadLetter,
        st.text(),
        st.integers(0, 4096),
        st.integers(0, (1 << 63) - 1),
        st.text(),
        st.none() | st.binary(),
        st.none() | st.binary(),
        st.booleans(),
    )
)
def test_a_dead_letter_comes_back_as_it_was(letter: DeadLetter) -> None:
    assert DeadLetter.decode(letter.encode()) == letter


@given(st.integers(0, 4096), st.integers(0, (1 << 63) - 1))
def test_a_mark_comes_back_as_it_was_and_is_no_letter(partition: int, offset: int) -> None:
    mark = Retried(partition, offset)
    assert decode_entry(mark.encode()) == mark
    with pytest.raises(InvalidDeadLetterError, match="the mark of one"):
        DeadLetter.decode(mark.encode())


@pytest.mark.parametrize(
    ("key", "value", "truncated"),
    [
        (b"k" * KEPT_KEY_BYTES, b"v" * KEPT_BYTES, False),
        (b"k" * (KEPT_KEY_BYTES + 1), b"v", True),
        (b"k", b"v" * (KEPT_BYTES + 1), True),
        (None, None, False),
        (b"", b"", False),
    ],
)
def test_a_letter_says_whether_it_holds_the_whole_record(
    key: bytes | None, value: bytes | None, *, truncated: bool
) -> None:
    letter = DeadLetter.of("t", 0, 1, "reason", key, value)
    assert letter.truncated is truncated
    assert ((letter.key, letter.value) == (key, value)) is not truncated
    assert len(letter.key or b"") <= KEPT_KEY_BYTES
    assert len(letter.value or b"") <= KEPT_BYTES


@pytest.mark.parametrize(("size", "truncated"), [(KEPT_BYTES - 1, False), (KEPT_BYTES, True)])
def test_a_letter_from_before_they_said_so_may_be_cut_where_it_is_as_long_as_may_be(
    size: int, *, truncated: bool
) -> None:
    old = {"topic": "t", "partition": 0, "offset": 1, "reason": "r", "key": b"k", "value": b"v" * size}
    assert DeadLetter.decode(msgpack.packb(old)).truncated is truncated


def test_fields_of_a_newer_release_are_ignored() -> None:
    letter = DeadLetter("t", 0, 1, "r", b"k", None)
    said = msgpack.unpackb(letter.encode()) | {"colour": "red"}
    assert decode_entry(msgpack.packb(said)) == letter


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "record: expected msgpack"),
        (b"\xc1", "record: expected msgpack"),
        (msgpack.packb([1]), "record: expected a map, got list"),
        (msgpack.packb({"topic": 1}), "topic: expected a string, got int"),
        (msgpack.packb({"retried": [1]}), r"retried: expected \[partition, offset\], got \[1\]"),
    ],
)
def test_what_is_neither_is_refused_with_what_was_expected(data: bytes | None, message: str) -> None:
    with pytest.raises(InvalidDeadLetterError, match=message):
        decode_entry(data)


@given(st.binary(max_size=40))
def test_no_bytes_do_anything_worse_than_that(data: bytes) -> None:
    try:
        decode_entry(data)
    except InvalidDeadLetterError:
        return
