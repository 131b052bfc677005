"""Predictions as they are stored and sent."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from protos.nearline.v1 import recommender_pb2, status_pb2
from serving.errors import ModelError, NotFoundError
from serving.models.answers import SOURCE_BYTES, Answer, prediction_key, read_entry, read_message
from serving.models.loaded import LoadedModel
from serving.models.predict import answers, features, inputs, popular
from serving.recipes.event import Event
from serving.recipes.history import History
from tests.builders.bundles import POPULAR, load
from tests.builders.graphs import N, doubler

ANSWERS = st.lists(
    st.tuples(st.text(st.characters(exclude_categories=["Cs"])), st.floats(width=32, allow_nan=False)), max_size=5
).map(lambda pairs: Answer([i for i, _ in pairs], [s for _, s in pairs], "m", 3, 1_000))


@given(ANSWERS)
def test_an_answer_comes_back_from_the_store_as_it_was(answer: Answer) -> None:
    computed_at, message = read_entry(answer.entry())
    assert computed_at == 1_000
    assert read_message(message) == answer


@given(ANSWERS, st.sampled_from(sorted(SOURCE_BYTES)))
def test_appending_the_source_makes_the_whole_response(
    answer: Answer, source: "recommender_pb2.Source.ValueType"
) -> None:
    response = recommender_pb2.RecommendResponse.FromString(answer.message() + SOURCE_BYTES[source])
    assert (list(response.item_ids), response.version, response.source) == (answer.item_ids, 3, source)


@given(ANSWERS, st.integers(0, 6))
def test_narrowing_keeps_the_order_and_leaves_out_what_is_excluded(answer: Answer, k: int) -> None:
    exclude = frozenset(answer.item_ids[::2])
    narrowed = answer.narrowed(k, exclude)
    expected = [i for i in answer.item_ids if i not in exclude]
    assert narrowed.item_ids == (expected[:k] if k else expected)
    assert len(narrowed.scores) == len(narrowed.item_ids)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load(tmp_path_factory.mktemp("bundle"))


def test_model_version_bundle_and_entity_are_in_the_key(loaded: LoadedModel) -> None:
    def key(model: str = "m", version: int = 1, digest: str = "a" * 64, entity: bytes = b"e") -> bytes:
        return prediction_key(LoadedModel(model, version, digest, loaded.bundle, loaded.session), entity)

    keys = {key(), key(model="n"), key(version=2), key(digest="b" * 64), key(entity=b"f"), key(version=11)}
    assert len(keys) == 6
    assert len(key("m" * 64, (1 << 63) - 1, entity=b"e" * 256)) + 3 <= 511


def test_the_inputs_come_from_the_histories(loaded: LoadedModel) -> None:
    history = History()
    events = [Event(b"e", b"%08d" % i, "", i, {"item": f"item-{i}"}) for i in range(3)]
    history.fold(events, features(loaded)["history"], 100)
    made = inputs(loaded, [{"item": history}, {}])
    assert made["history"].tolist() == [[-1, 0, 1, 2], [-1] * N]


def test_rows_become_items_of_the_catalogue(loaded: LoadedModel) -> None:
    items, scores = np.array([[3, 1]]), np.array([[2.0, 1.0]], np.float32)
    (answer,) = answers(loaded, items, scores, 5, rows=1)
    assert answer == Answer(["item-3", "item-1"], [2.0, 1.0], "m", 1, 5)


def test_places_without_an_item_are_left_out(loaded: LoadedModel) -> None:
    items = np.array([[3, -1, 2], [-1, -1, -1]])
    scores = np.array([[2.0, 1.0, -np.inf], [0, 0, 0]], np.float32)
    first, second = answers(loaded, items, scores, 5, rows=2)
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
    loaded: LoadedModel, items: NDArray[Any], scores: NDArray[Any]
) -> None:
    with pytest.raises(ModelError) as caught:
        answers(loaded, items, scores, 5, rows=1)
    assert caught.value.kind == status_pb2.LOAD


def test_popular_items_come_in_their_order(loaded: LoadedModel) -> None:
    answer = popular(loaded, 5)
    assert answer.item_ids == POPULAR
    assert list(answer.scores) == sorted(answer.scores, reverse=True)


def test_a_model_without_catalogue_recommends_nothing(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"^model 'd' version 2: expected a recommender"):
        features(load(tmp_path, "d", 2, doubler()))
