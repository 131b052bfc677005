"""Metadata, messages and deadlines as header fields."""

import base64
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.rpc.http2.fields import check_values
from serving.rpc.native.metadata import BadMetadataError, percent, read_metadata, read_timeout, write_metadata

TEXTS = st.text(st.characters(codec="utf-8"))
KEYS = st.from_regex(r"[a-z][a-z0-9_.-]{0,8}", fullmatch=True).filter(lambda key: not key.startswith("grpc-"))
VALUES = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1)
PAIRS = st.tuples(KEYS.map(lambda key: f"{key}-bin"), st.binary()) | st.tuples(
    KEYS.filter(lambda key: not key.endswith("-bin") and key not in {"te", "host"}), VALUES
)


@given(TEXTS | st.sampled_from([" x ", "   ", "100 %", "%41", "a\tb"]))
def test_a_message_comes_back_and_is_a_field(message: str) -> None:
    written = percent(message)
    check_values([(b"grpc-message", written, False)])
    assert unquote_to_bytes(written).decode() == message


@given(st.lists(PAIRS))
def test_metadata_comes_back(metadata: list[tuple[str, str | bytes]]) -> None:
    fields = [(name, value, False) for name, value in write_metadata(tuple(metadata))]
    check_values(fields)
    assert read_metadata(fields) == tuple(metadata)


def test_binary_values_come_padded_or_not_and_joined_or_not() -> None:
    joined = b"AA==,AAE,, AAEC"
    assert read_metadata([(b"x-bin", joined, False)]) == (
        ("x-bin", b"\0"), ("x-bin", b"\0\1"), ("x-bin", b""), ("x-bin", b"\0\1\2"),
    )  # fmt: skip
    assert base64.b64decode(b"AAEC") == b"\0\1\2"
    with pytest.raises(BadMetadataError, match=r"^x-bin: expected base64$"):
        read_metadata([(b"x-bin", b"%%", False)])


@pytest.mark.parametrize(
    "pair", [("a", b"bytes"), ("a-bin", "text"), ("a", "line\nline"), ("a", "größe"), ("größe", "a")]
)
def test_what_cannot_be_sent_is_refused(pair: tuple[str, str | bytes]) -> None:
    with pytest.raises(ValueError, match="a"):
        list(write_metadata((pair,)))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"1H", 3600.0),
        (b"2M", 120.0),
        (b"3S", 3.0),
        (b"4m", 0.004),
        (b"5u", 5e-6),
        (b"6n", 6e-9),
        (b"99999999S", 99999999.0),
    ],
)
def test_a_deadline_is_read(value: bytes, seconds: float) -> None:
    assert read_timeout(value) == pytest.approx(seconds)


@pytest.mark.parametrize("value", [b"", b"1", b"S", b"-1S", b"1.5S", b"123456789S", b"1s", b"1S "])
def test_what_is_no_deadline_is_named(value: bytes) -> None:
    with pytest.raises(BadMetadataError, match=r"^grpc-timeout: expected "):
        read_timeout(value)
