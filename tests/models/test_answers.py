"""Predictions as they are stored and sent."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from protos.nearline.v1 import recommender_pb2, status_pb2
from protos.records import BulkLoad
from serving.errors import ModelError
from serving.models.answers import SOURCE_BYTES, Answer, computed_at, entry, message_of, read_message
from serving.models.encoding import AnswerEncoder, varint
from serving.models.loaded import LoadedModel
from serving.models.places import HOUR_MS, active_since, activity_score, bulk_space, key_of, model_of, version_key
from serving.models.predictor import Predictor
from serving.recipes.features import Request
from serving.recipes.recipe import Recipe
from serving.store.port import MAX_NAME
from tests.builders.bundles import ITEMS, POPULAR, again, load, load_recommender
from tests.builders.graphs import K, N, doubler, paged
from tests.builders.states import document

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
ANSWERS = st.lists(st.tuples(TEXTS, st.floats(width=32, allow_nan=False)), max_size=5).map(
    lambda pairs: Answer([i for i, _ in pairs], [s for _, s in pairs], "m", 3, 1_000)
)


@given(ANSWERS)
def test_an_answer_comes_back_from_the_store_as_it_was(answer: Answer) -> None:
    stored = entry(answer.message(), 1_000)
    assert computed_at(stored) == 1_000
    assert read_message(message_of(stored)) == answer


@given(ANSWERS, st.sampled_from(sorted(SOURCE_BYTES)))
def test_appending_the_source_makes_the_whole_response(
    answer: Answer, source: "recommender_pb2.Source.ValueType"
) -> None:
    response = recommender_pb2.RecommendResponse.FromString(answer.message() + SOURCE_BYTES[source])
    assert (list(response.item_ids), response.version, response.source) == (answer.item_ids, 3, source)


@given(ANSWERS, st.integers(0, 6))
def test_narrowing_keeps_the_order_and_leaves_out_what_is_hidden(answer: Answer, k: int) -> None:
    hidden = frozenset(answer.item_ids[::2])
    narrowed = answer.without(hidden).first(k)
    assert narrowed.item_ids == [i for i in answer.item_ids if i not in hidden][:k]
    assert len(narrowed.scores) == len(narrowed.item_ids)


@given(st.integers(0, 1 << 63))
def test_a_varint_holds_seven_bits_a_byte_the_last_one_without_a_mark(number: int) -> None:
    encoded = varint(number)
    assert sum((byte & 0x7F) << 7 * at for at, byte in enumerate(encoded)) == number
    assert [byte >> 7 for byte in encoded] == [1] * (len(encoded) - 1) + [0]


@st.composite
def outputs(draw: st.DrawFn) -> tuple[list[str], NDArray[np.int64], NDArray[np.float32], NDArray[np.bool_]]:
    """A catalogue, and items, scores and `held`, all [rows, k]."""
    ids = draw(st.lists(TEXTS.filter(len), min_size=1, max_size=6, unique=True))
    rows, k = draw(st.integers(0, 4)), draw(st.integers(0, 5))
    numbers = st.lists(st.integers(0, len(ids) - 1), min_size=k, max_size=k)
    floats = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=k, max_size=k)
    bits = st.just([True] * k) | st.lists(st.booleans(), min_size=k, max_size=k)
    items = np.array([draw(numbers) for _ in range(rows)], np.int64).reshape(rows, k)
    scores = np.array([draw(floats) for _ in range(rows)], np.float32).reshape(rows, k)
    held = np.array([draw(bits) for _ in range(rows)], np.bool_).reshape(rows, k)
    return ids, items, scores, held


@given(outputs(), st.integers(1, 1 << 40), st.integers(0, 1 << 42))
def test_encoded_answers_are_what_protobuf_would_encode(
    made: tuple[list[str], NDArray[np.int64], NDArray[np.float32], NDArray[np.bool_]], version: int, now_ms: int
) -> None:
    ids, items, scores, held = made
    expected = [
        Answer([ids[i] for i in row[mask]], score[mask].tolist(), "m", version, now_ms).message()
        for row, score, mask in zip(items, scores, held, strict=True)
    ]
    assert AnswerEncoder("m", version, ids).encode(items, scores, held, now_ms) == expected


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def predictor(loaded: LoadedModel) -> Predictor:
    assert loaded.predictor is not None
    return loaded.predictor


def test_model_version_and_bundle_are_in_the_name_of_a_version(loaded: LoadedModel) -> None:
    others = [again(loaded, "n"), again(loaded, version=2), again(loaded, digest="b" * 64), again(loaded, version=11)]
    assert len({key_of(one) for one in (loaded, *others)}) == 5
    assert [model_of(key_of(one)) for one in (loaded, others[0], others[3])] == [("m", 1), ("n", 1), ("m", 11)]


def test_names_of_versions_and_loads_fit_into_names_of_the_store() -> None:
    assert len(version_key("m" * 64, (1 << 63) - 1, "f" * 64)) + 1 <= MAX_NAME
    assert (
        len(bulk_space("m" * 64, BulkLoad((1 << 63) - 1, 1, "a" * 64, "file:///x", "0" * 64, size=1, rows=1)))
        <= MAX_NAME
    )


@given(st.integers(0, 1 << 42), st.integers(0, 1 << 42))
def test_whoever_was_active_at_or_after_an_instant_ranks_at_or_before_it(one: int, other: int) -> None:
    if one >= other:
        assert activity_score(one) <= active_since(other)
    elif other - one > HOUR_MS:
        assert activity_score(one) > active_since(other)


def test_the_inputs_come_from_the_states(predictor: Predictor) -> None:
    inputs = predictor.inputs.compute([document("item-0", "item-1", "item-2"), None], [1 << 40, 1 << 40])
    assert inputs["history"].tolist() == [[-1, 0, 1, 2], [-1] * N]
    assert predictor.inputs.known(inputs).tolist() == [True, False]


def test_an_answer_for_each_state_of_which_something_is_known(predictor: Predictor) -> None:
    found = predictor.predict([document("item-1"), None, document("unknown"), document("item-5")], [9] * 4, 5)
    assert [message and list(read_message(message).item_ids) for message in found] == [
        ["item-2", "item-3", "item-0"],
        None,
        None,
        ["item-6", "item-7", "item-0"],
    ]
    assert predictor.predict([None, None], [9, 9], 5) == [None, None]


@pytest.mark.parametrize("most", [1, 2, 3, 50, None])
def test_at_most_so_many_items_are_kept(predictor: Predictor, most: int | None) -> None:
    (message,) = predictor.predict([document("item-1")], [9], 5, most)
    assert message is not None
    answer = read_message(message)
    assert answer.item_ids == ["item-2", "item-3", "item-0"][: most or K]
    assert len(answer.scores) == len(answer.item_ids)


def test_rows_become_items_of_the_catalogue(predictor: Predictor) -> None:
    items, scores = np.array([[3, 1]]), np.array([[2.0, 1.0]], np.float32)
    (message,) = predictor.encode(items, scores, 5, rows=1)
    assert read_message(message) == Answer(["item-3", "item-1"], [2.0, 1.0], "m", 1, 5)


def test_places_without_an_item_are_left_out(predictor: Predictor) -> None:
    items = np.array([[3, -1, 2], [-1, -1, -1]])
    scores = np.array([[2.0, 1.0, -np.inf], [0, 0, 0]], np.float32)
    first, second = map(read_message, predictor.encode(items, scores, 5, rows=2))
    assert (first.item_ids, second.item_ids, second.scores) == (["item-3"], [], [])


@pytest.mark.parametrize(
    ("items", "scores"),
    [
        (np.array([[99]]), np.array([[1.0]])),
        (np.array([[1, 2]]), np.array([[1.0]])),
        (np.array([[1], [2]]), np.array([[1.0], [1.0]])),
        (np.array([1]), np.array([1.0])),
        (np.array([[1]]), np.array([[np.nan]])),
        (np.array([[1]]), np.array([[np.inf]])),
    ],
    ids=["outside", "shapes", "rows", "rank", "nan", "inf"],
)
def test_outputs_that_make_no_sense_are_a_model_error(
    predictor: Predictor, items: NDArray[Any], scores: NDArray[Any]
) -> None:
    with pytest.raises(ModelError) as caught:
        predictor.encode(items, scores, 5, rows=1)
    assert caught.value.kind == status_pb2.RUN


def test_popular_items_come_in_their_order(predictor: Predictor) -> None:
    answer = predictor.popular(5)
    assert answer.item_ids == POPULAR
    assert list(answer.scores) == sorted(answer.scores, reverse=True)


def test_a_model_without_catalogue_recommends_nothing(tmp_path_factory: pytest.TempPathFactory) -> None:
    assert load(tmp_path_factory.mktemp("d"), "d", 2, doubler()).predictor is None


def test_a_stored_answer_holds_everything_unless_told_to_hold_less(loaded: LoadedModel) -> None:
    stores = [again(loaded, stored=stored).predictor for stored in (None, K - 1, K)]
    assert [predictor.stores_all for predictor in stores if predictor] == [True, False, True]


def test_a_recipe_that_looks_at_requests_alone_knows_everybody(tmp_path_factory: pytest.TempPathFactory) -> None:
    recipe: Recipe = {"page": Request(field="page", default=5)}
    model = load_recommender(tmp_path_factory.mktemp("paged"), paged(), recipe=recipe)
    assert model.predictor is not None
    (message,) = model.predictor.predict([None], [0], 5)
    assert message is not None
    assert read_message(message).item_ids == ITEMS[6 : 6 + K]
