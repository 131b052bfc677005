"""Events as they travel: every record becomes an event, or an error that names the field."""

import json
from typing import Any

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from protos.dead_letter import DeadLetter
from serving.errors import InvalidRequestError
from serving.recipes.event import ID_BYTES, MAX_EVENT_BYTES, Scalar, decode_event, encode_event

NOW = 1_000_000
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SCALARS: st.SearchStrategy[Scalar] = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False), TEXT
)


def as_json(said: dict[str, Any]) -> bytes:
    return json.dumps(said).encode()


def as_msgpack(said: dict[str, Any]) -> bytes:
    packed: bytes = msgpack.packb(said)
    return packed


BOTH = pytest.mark.parametrize("encode", [as_json, as_msgpack])


@given(TEXT.filter(bool), st.dictionaries(TEXT, SCALARS), TEXT, st.none() | st.integers(0, NOW), st.none() | TEXT)
def test_what_a_producer_encodes_is_decoded(
    entity: str, fields: dict[str, Scalar], kind: str, ts: int | None, identity: str | None
) -> None:
    key, value = encode_event(entity, fields, kind=kind, ts_ms=ts, event_id=identity)
    event = decode_event(key, value, NOW)
    assert (event.entity, event.type, event.fields) == (entity.encode(), kind, fields)
    assert (event.ts_ms, event.clamped) == (NOW if ts is None else ts, False)
    assert len(event.id) == ID_BYTES


@BOTH
def test_json_and_msgpack_say_the_same(encode: Any) -> None:
    said = {"entity": "e", "type": "t", "ts": 5, "id": "i", "fields": {"item": "a", "n": 1, "x": 0.5, "b": True}}
    assert decode_event(b"e", encode(said), NOW) == decode_event(b"e", as_json(said), NOW)


@BOTH
def test_entity_time_id_and_fields_may_be_missing(encode: Any) -> None:
    event = decode_event(b"e", encode({}), NOW)
    assert (event.entity, event.ts_ms, event.type, event.fields) == (b"e", NOW, "", {})


def test_without_an_id_the_same_bytes_are_the_same_event() -> None:
    one, again, other = (decode_event(b"e", as_json({"ts": ts}), now).id for ts, now in ((1, 5), (1, 9), (2, 5)))
    assert one == again != other


def test_ids_may_be_numbers() -> None:
    assert decode_event(b"e", as_json({"id": 7}), NOW).id == decode_event(b"e", as_json({"id": "7"}), NOW).id


def test_an_event_from_the_future_is_taken_as_of_its_append_time() -> None:
    event = decode_event(b"e", as_json({"ts": NOW + 1}), NOW)
    assert (event.ts_ms, event.clamped) == (NOW, True)


@BOTH
@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"type": 1}, "type: expected a string, got 1"),
        ({"ts": "x"}, "ts: expected milliseconds since the epoch, got 'x'"),
        ({"ts": -1}, "ts: expected milliseconds since the epoch, got -1"),
        ({"ts": 1.5}, "ts: expected milliseconds since the epoch, got 1.5"),
        ({"ts": True}, "ts: expected milliseconds since the epoch, got True"),
        ({"ts": None}, "ts: expected milliseconds since the epoch, got None"),
        ({"id": []}, "id: expected a string or an integer, got []"),
        ({"id": False}, "id: expected a string or an integer, got False"),
        ({"entity": 1}, "entity: expected a string, got 1"),
        ({"entity": "other"}, "entity: expected the record's key 'e', got 'other'"),
        ({"fields": []}, "fields: expected a map, got []"),
        ({"fields": {"a": []}}, "fields.a: expected a string, a number, a boolean or nothing, got []"),
        ({"fields": {"a": float("nan")}}, "fields.a: expected a finite number, got nan"),
        ({"fields": {"a": float("-inf")}}, "fields.a: expected a finite number, got -inf"),
    ],
)
def test_a_wrong_field_is_named_with_what_was_expected_and_what_came(
    encode: Any, said: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        decode_event(b"e", encode(said), NOW)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        (b"e", None, "event: expected 1 to 65536 bytes, got 0 bytes"),
        (b"e", b"", "event: expected 1 to 65536 bytes, got 0 bytes"),
        (b"e", b" " * (MAX_EVENT_BYTES + 1), "event: expected 1 to 65536 bytes, got 65537 bytes"),
        (b"e", b"{", "event: expected JSON or msgpack"),
        (b"e", b"[1]", "event: expected JSON or msgpack"),
        (b"e", b"\xc1", "event: expected JSON or msgpack"),
        (b"e", b"\x81", "event: expected JSON or msgpack"),
        (b"e", b"\x90", "event: expected a map, got list"),
        (b"e", b'{"a":' * 10_000, "event: expected JSON or msgpack"),
        (b"e", b"\x81\xa1a" * 10_000, "event: expected JSON or msgpack"),
        (b"e", b'{"ts":' + b"9" * 5_000 + b"}", "event: expected JSON or msgpack"),
        (None, b"{}", "key: expected an entity id of 1 to 256 bytes, got None"),
        (b"", b"{}", "key: expected an entity id of 1 to 256 bytes, got b''"),
        (b"x" * 257, b"{}", "key: expected an entity id of 1 to 256 bytes"),
        (b"\xff", b"{}", "key: expected an entity id in UTF-8"),
        (b"e", as_msgpack({"fields": {"a": b"bytes"}}), "fields.a: expected a string, a number"),
        (b"e", as_msgpack({"fields": {b"a": 1}}), "fields: expected names that are strings"),
        (b"e", b'{"fields":{"item":"\\ud800"}}', "fields.item: expected valid UTF-8, got '\\ud800'"),
        (b"e", b'{"fields":{"\\ud800":1}}', "fields: expected names that are strings"),
    ],
)
def test_an_unusable_record_says_why(key: bytes | None, value: bytes | None, words: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        decode_event(key, value, NOW)
    assert str(caught.value).startswith(words)
    assert len(str(caught.value)) < 300


def _try(key: bytes | None, value: bytes | None) -> None:
    """Usable, or an error whose words can be stored."""
    try:
        decode_event(key, value, NOW)
    except InvalidRequestError as error:
        DeadLetter("t", 0, 0, str(error), key, value).encode()


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(["entity", "type", "ts", "id", "fields", "x"])


@given(st.none() | st.binary(max_size=8), st.none() | st.binary(max_size=64))
def test_random_bytes_raise_nothing_else(key: bytes | None, value: bytes | None) -> None:
    _try(key, value)


@given(st.dictionaries(NAMES, ANY))
@example({"fields": {"\udfff": "\ud800"}})
def test_random_json_raises_nothing_else(said: dict[str, Any]) -> None:
    _try(b"e", as_json(said))


@given(st.binary(max_size=64))
def test_random_msgpack_maps_raise_nothing_else(rest: bytes) -> None:
    _try(b"e", b"\x82\xa6fields" + rest)
