"""A topic that a company already has is read as it is."""

import json
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from serving.errors import InvalidRequestError
from serving.recipes.event import Event, decode_event, id_hash
from serving.recipes.mapping import EventMapping
from serving.recipes.scalars import Scalar

NOW = 1_800_000_000_000
ORDER = {
    "meta": {"user": 17850, "at": "2023-11-14T22:13:20Z", "uuid": "u-1"},
    "kind": "order",
    "payload": {"sku": "85123A", "price": 2.5, "tags": ["x"]},
}
MAPPING = EventMapping(
    entity="meta.user",
    keyed=False,
    type="kind",
    time="meta.at",
    time_unit="iso8601",
    id="meta.uuid",
    fields={"item": "payload.sku", "price": "payload.price", "none": "payload.none.deeper"},
)


def read(said: Any, mapping: EventMapping, key: bytes | None = None) -> Event:
    return decode_event(key, json.dumps(said).encode(), NOW, mapping)


@pytest.mark.parametrize("encode", [lambda said: json.dumps(said).encode(), msgpack.packb])
def test_paths_say_where_everything_is(encode: Any) -> None:
    fields: dict[str, Scalar] = {"item": "85123A", "price": 2.5}
    expected = Event(b"17850", id_hash("u-1"), "order", 1_700_000_000_000, fields)
    assert decode_event(None, encode(ORDER), NOW, MAPPING) == expected


SAID = st.dictionaries(
    st.sampled_from(["entity", "type", "ts", "id", "fields", "x"]),
    st.none()
    | st.integers(-1, 5)
    | st.text(max_size=3)
    | st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


@given(SAID)
def test_the_default_mapping_is_our_own_format(said: dict[str, Any]) -> None:
    outcomes = []
    for mapping in (None, EventMapping()):
        try:
            outcomes.append(repr(decode_event(b"e", json.dumps(said).encode(), NOW, mapping)))
        except InvalidRequestError as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize(
    ("unit", "said", "ts"),
    [
        ("s", 1_700_000_000, 1_700_000_000_000),
        ("s", 1_700_000_000.25, 1_700_000_000_250),
        ("ms", 1_700_000_000_000, 1_700_000_000_000),
        ("us", 1_700_000_000_000_999, 1_700_000_000_000),
        ("iso8601", "2023-11-14T22:13:20.5+00:00", 1_700_000_000_500),
        ("iso8601", "2023-11-14T23:13:20+01:00", 1_700_000_000_000),
        ("iso8601", "2023-11-14 22:13:20", 1_700_000_000_000),
    ],
)
def test_times_come_in_several_units(unit: Any, said: Any, ts: int) -> None:
    assert read({"t": said}, EventMapping(time="t", time_unit=unit), b"e").ts_ms == ts


@pytest.mark.parametrize(
    ("unit", "said", "message"),
    [
        ("s", "x", "t: expected seconds since the epoch, got 'x'"),
        ("s", -1, "t: expected seconds since the epoch, got -1"),
        ("s", True, "t: expected seconds since the epoch, got True"),
        ("us", float("nan"), "t: expected microseconds since the epoch, got nan"),
        ("iso8601", "yesterday", "t: expected a time in ISO 8601, got 'yesterday'"),
        ("iso8601", 5, "t: expected a time in ISO 8601, got 5"),
        ("iso8601", "1960-01-01", "ts: expected milliseconds since the epoch, got -"),
    ],
)
def test_a_time_that_is_none_is_named(unit: Any, said: Any, message: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        read({"t": said}, EventMapping(time="t", time_unit=unit), b"e")
    assert str(caught.value).startswith(message)


def test_all_scalars_at_the_top_may_be_fields() -> None:
    mapping = EventMapping(type=None, constant_type="click", time="at", fields=".")
    event = read({"at": 5, "id": "i", "sku": "a", "n": 1, "nested": {}, "list": []}, mapping, b"e")
    assert (event.type, event.ts_ms, event.fields) == ("click", 5, {"sku": "a", "n": 1})


def test_the_key_is_the_entity_where_the_record_does_not_say_it() -> None:
    assert read({}, EventMapping(entity=None), b"e").entity == b"e"
    assert read({}, MAPPING, b"e").entity == b"e"


@pytest.mark.parametrize(
    ("said", "key", "message"),
    [
        ({"meta": {"user": []}}, b"e", "entity: expected a string, got []"),
        ({"meta": {"user": "\ud800"}}, None, "key: expected an entity id in UTF-8"),
        ({"meta": {"user": ""}}, b"e", "key: expected an entity id of 1 to 256 bytes"),
        ({"payload": {"sku": {}}}, b"e", "fields.item: expected a string, a number, a boolean or nothing, got {}"),
    ],
)
def test_what_a_path_finds_is_checked_like_our_own(said: Any, key: bytes | None, message: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        read(said, MAPPING, key)
    assert str(caught.value).startswith(message)


def test_a_mapping_with_an_unknown_part_is_refused() -> None:
    with pytest.raises(ValidationError):
        EventMapping.model_validate({"when": "ts"})
