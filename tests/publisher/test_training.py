"""Training rows equal what near-line computes at the same instant, and see nothing at or after it."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from publisher import past_features
from publisher.training import training_rows
from serving.errors import InvalidRequestError
from serving.recipes.event import Event, id_hash
from serving.recipes.fold import fold
from serving.recipes.inputs import Inputs
from serving.recipes.mapping import EventMapping
from serving.recipes.parse import parse_recipe
from serving.recipes.scalars import Scalar
from serving.recipes.state import tracks_of
from tests.recipes.cases import CATALOGUE, EVERYTHING, INPUTS, LATENESS, MINUTE, START

DATATYPES = {tensor.name: tensor.datatype for tensor in INPUTS}
TRACKS = tracks_of([EVERYTHING])
SCHEMA = {
    "entity": pl.String,
    "ts": pl.Int64,
    "id": pl.Int64,
    "type": pl.String,
    "item": pl.String,
    "price": pl.Float64,
}

ROWS = st.lists(
    st.tuples(
        st.sampled_from(["e", "f", "g"]),
        st.integers(0, 12).map(lambda n: START + n * MINUTE // 2) | st.integers(START, START + 8 * MINUTE),
        st.integers(0, 30),
        st.sampled_from(["view", "buy", "other"]),
        st.none() | st.sampled_from(["a", "b", "c", "new", "z", ""]),
        st.none() | st.integers(-5, 5).map(float) | st.sampled_from([0.25, 1e3]),
    ),
    max_size=25,
    unique_by=lambda row: (row[0], row[2]),
)
LABELS = st.lists(
    st.tuples(
        st.sampled_from(["e", "f", "nobody"]),
        st.integers(0, 14).map(lambda n: START + n * MINUTE // 2) | st.integers(START, START + 90 * MINUTE),
        st.none() | st.sampled_from(["home", "cart", "else"]),
        st.none() | st.integers(0, 23),
    ),
    max_size=8,
)


def table(rows: list[Any]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def asked(rows: list[Any]) -> pl.DataFrame:
    schema = {"entity": pl.String, "ts": pl.Int64, "page": pl.String, "hour": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def rows_of(events: list[Any], labels: list[Any]) -> dict[str, Any]:
    return training_rows(EVERYTHING, table(events), asked(labels), catalogue=CATALOGUE, datatypes=DATATYPES)


def nearline(events: list[Any], labels: list[Any]) -> dict[str, Any]:
    """Fold what was before each label, as a worker would have."""
    documents: list[bytes | None] = []
    for entity, ts, *_ in labels:
        past = [
            Event(entity.encode(), id_hash(number), kind, at, {"item": item, "price": price})
            for who, at, number, kind, item, price in events
            if who == entity and at < ts
        ]
        past.sort(key=lambda e: (e.ts_ms, e.id))
        documents.append(fold(None, past, TRACKS, LATENESS).document if past else None)
    requests = [{"page": page, "hour": hour} for _, _, page, hour in labels]
    instants = np.array([ts for _, ts, *_ in labels], np.int64)
    return Inputs(EVERYTHING, INPUTS, CATALOGUE).compute(documents, instants, requests)


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name, expected in other.items():
        assert (one[name].dtype, one[name].shape) == (expected.dtype, expected.shape), name
        if expected.dtype == np.object_:
            assert one[name].tolist() == expected.tolist(), name
        else:
            np.testing.assert_allclose(one[name], expected, rtol=1e-9, atol=1e-9, err_msg=name)


@settings(max_examples=40)
@given(ROWS, LABELS, st.data())
def test_training_rows_equal_what_nearline_computes(events: list[Any], labels: list[Any], data: st.DataObject) -> None:
    order = data.draw(st.permutations(events))
    repeated = data.draw(st.lists(st.sampled_from(events), max_size=3)) if events else []
    assert_same(rows_of([*order, *repeated], labels), nearline(events, labels))


@settings(max_examples=40)
@given(ROWS, LABELS)
def test_nothing_at_or_after_the_label_leaks_in(events: list[Any], labels: list[Any]) -> None:
    for label in labels:
        past = [event for event in events if event[1] < label[1]]
        assert_same(rows_of(events, [label]), rows_of(past, [label]))


@settings(max_examples=40)
@given(ROWS, LABELS, st.integers(1, 9))
def test_the_size_of_chunks_does_not_matter(events: list[Any], labels: list[Any], cells: int) -> None:
    whole = rows_of(events, labels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(past_features, "CELLS", cells)
        assert_same(rows_of(events, labels), whole)


def test_datatypes_are_the_usual_ones_unless_said_otherwise() -> None:
    made = training_rows(EVERYTHING, table([]), asked([("e", 1, None, None)]), catalogue=CATALOGUE)
    assert {name: str(made[name].dtype) for name in ("history", "history_mask", "spent", "all", "words", "page")} == {
        "history": "int64",
        "history_mask": "int64",
        "spent": "float32",
        "all": "int64",
        "words": "object",
        "page": "int64",
    }
    assert made["history"].shape == (1, 3)


def test_times_may_be_datetimes_and_numbers_are_looked_up_as_text() -> None:
    moment = datetime(2024, 1, 1, tzinfo=UTC)
    events = pl.DataFrame({"entity": ["e", "e"], "ts": [moment, moment], "item": [7, 8]})
    labels = pl.DataFrame({"entity": ["e"], "ts": [datetime(2024, 1, 1, 0, 0, 1, tzinfo=UTC)]})
    recipe = parse_recipe("h: {n: 3}\nl: {op: last, field: item}\na: {op: age}\nw: {n: 1, vocabulary: null, pad: ''}")
    made = training_rows(recipe, events, labels, catalogue=["8", "7"])
    assert {name: values.tolist() for name, values in made.items()} == {
        "h": [[-1, 1, 0]],
        "l": [8.0],
        "a": [1.0],
        "w": [[""]],
    }


def test_floats_and_booleans_are_looked_up_as_json_writes_them() -> None:
    words = ["0.5", "1e+20", "true"]
    labels = pl.DataFrame({"entity": ["e"], "ts": [9]})
    recipe = parse_recipe("h: {n: 3}")
    for values, rows in (([1e20, None, 0.5], [[-1, 1, 0]]), ([True, False, None], [[-1, -1, 2]])):
        events = pl.DataFrame({"entity": ["e"] * 3, "ts": [1, 2, 3], "item": values})
        assert training_rows(recipe, events, labels, catalogue=words)["h"].tolist() == rows
        fields: list[dict[str, Scalar]] = [{"item": value} for value in values]
        past = [Event(b"e", bytes([at] * 8), "", at, fields[at - 1]) for at in (1, 2, 3)]
        document = fold(None, past, tracks_of([recipe]), 10).document
        tensor = [t for t in INPUTS if t.name == "history"]
        mine = Inputs({"history": recipe["h"]}, tensor, words).compute([document], [9])
        assert mine["history"].tolist() == rows


def test_a_mapping_reads_the_columns_of_a_table_that_a_company_already_has() -> None:
    events = pl.DataFrame(
        {"user": [1, 1], "when": [10.5, 11.0], "kind": ["buy", "view"], "payload": [{"sku": "a"}, {"sku": "b"}]}
    )
    mapping = EventMapping(
        entity="user", type="kind", time="when", time_unit="s", id=None, fields={"item": "payload.sku"}
    )
    labels = pl.DataFrame({"entity": ["1", "1"], "ts": [10_500, 10_501]})
    recipe = parse_recipe("h: {n: 1, types: [buy]}")
    assert training_rows(recipe, events, labels, catalogue=["a", "b"], mapping=mapping)["h"].tolist() == [[-1], [0]]
    nested = pl.DataFrame({"entity": ["1"], "ts": [10_000], "fields": [{"item": "b"}]})
    made = training_rows(
        recipe, nested, labels, catalogue=["a", "b"], mapping=EventMapping(type=None, constant_type="buy")
    )
    assert made["h"].tolist() == [[1], [1]]


GOOD = table([("e", 1, 1, "view", "a", 1.0)])
ONE = asked([("e", 2, "home", 1)])


@pytest.mark.parametrize(
    ("events", "labels", "text", "message"),
    [
        (GOOD.drop("entity"), ONE, "h: {n: 1}", "events.entity: expected 'entity' among the columns ['ts', "),
        (GOOD.drop("ts"), ONE, "h: {n: 1}", "events.ts: expected 'ts' among the columns ['entity', "),
        (GOOD, ONE, "h: {n: 1, field: film}", "events.film: expected 'film' among the columns ['entity', "),
        (
            GOOD.with_columns(ts=pl.lit("x")),
            ONE,
            "h: {n: 1}",
            "events.ts: expected integer milliseconds or datetimes, ",
        ),
        (
            GOOD.with_columns(ts=pl.lit(0.5)),
            ONE,
            "h: {n: 1}",
            "events.ts: expected integer milliseconds or datetimes, ",
        ),
        (GOOD.with_columns(ts=[[1]]), ONE, "h: {n: 1}", "events.ts: expected integer milliseconds or datetimes, "),
        (GOOD.with_columns(ts=-1), ONE, "h: {n: 1}", "events.ts: expected a time since 1970 in every row, got null or"),
        (GOOD.with_columns(entity=None), ONE, "h: {n: 1}", "events.entity: expected an entity in every row, got null"),
        (GOOD.with_columns(item=[[1]]), ONE, "h: {n: 1}", "events.item: expected text, numbers or booleans, got List"),
        (GOOD, ONE.drop("ts"), "h: {n: 1}", "labels.ts: expected one of the columns ['entity', 'page', 'hour'], got"),
        (GOOD, ONE.drop("entity"), "h: {n: 1}", "labels.entity: expected one of the columns ['ts', 'page', 'hour']"),
        (GOOD, ONE, "p: {op: request, field: hour, default: x}", "labels.hour: expected text, got Int64"),
        (GOOD, ONE, "p: {op: request, field: page, default: 1}", "labels.page: expected numbers, got String"),
        (
            GOOD,
            ONE.with_columns(hour=float("nan")),
            "p: {op: request, field: hour, default: 1}",
            "labels.hour: expected finite numbers, got NaN or Inf",
        ),
    ],
)
def test_a_wrong_table_says_what_was_expected(
    events: pl.DataFrame, labels: pl.DataFrame, text: str, message: str
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        training_rows(parse_recipe(text), events, labels, catalogue=["a"])
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "catalogue: expected the items, since a feature looks up in it, got none"),
        ({"datatypes": {"x": "FP32"}}, "datatypes: expected inputs of ['h'], got 'x'"),
        ({"datatypes": {"h": "FP8"}}, "datatypes.h: expected one of ['BOOL', "),
    ],
)
def test_a_wrong_argument_says_what_was_expected(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        training_rows(parse_recipe("h: {n: 1}"), GOOD, ONE, **arguments)
    assert str(caught.value).startswith(message)


def test_of_events_with_the_same_id_the_first_counts_and_without_ids_each_row_is_one() -> None:
    events = pl.DataFrame({"entity": ["e"] * 3, "ts": [3, 1, 1], "id": ["x", "x", None], "item": ["a", "b", "a"]})
    labels = pl.DataFrame({"entity": ["e", "e"], "ts": [9, 3]})
    recipe = parse_recipe("c: {op: count, window: 1h}\nl: {op: last, field: item, missing: ''}")
    made = training_rows(recipe, events, labels)
    assert (made["c"].tolist(), made["l"].tolist()) == ([2, 2], ["b", "b"])
    made = training_rows(recipe, events.drop("id"), labels)
    assert (made["c"].tolist(), made["l"].tolist()) == ([3, 2], ["a", "a"])


def test_sums_over_windows_keep_their_digits_after_huge_numbers() -> None:
    events = pl.DataFrame({"entity": ["e"] * 3, "ts": [0, 2 * 3_600_000, 2 * 3_600_000 + 1], "x": [1e17, 0.1, 0.2]})
    labels = pl.DataFrame({"entity": ["e"], "ts": [2 * 3_600_000 + 2]})
    made = training_rows(parse_recipe("s: {op: sum, field: x, window: 1h}"), events, labels, datatypes={"s": "FP64"})
    assert made["s"].tolist() == pytest.approx([0.3])
